"""Control: one route's sensing and physics joined into decisions."""

from atrion.control.decision import Decision, Reason
from atrion.control.route import Route

__all__ = ["Decision", "Reason", "Route"]
