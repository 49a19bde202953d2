"""Long work: leases, which have a budget and tell of their progress, and swarms, which share one."""

from atrion.workload.lease import Lease
from atrion.workload.swarm import Swarm
from atrion.workload.view import LeaseSnapshot

__all__ = ["Lease", "LeaseSnapshot", "Swarm"]
