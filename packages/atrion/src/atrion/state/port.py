"""The state port (RFC-0007 §3.1): what a provider must do, and small abilities it may have besides.

The four methods of :class:`StateProvider` are enough. :class:`ClusterSync`, :class:`Recall`, :class:`Batch` and
:class:`Inspect` are optional and stand alone: an engine uses those that ``isinstance`` finds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from atrion._plain import Plain

__all__ = [
    "Batch",
    "ClusterScar",
    "ClusterSync",
    "Finding",
    "Inspect",
    "NodeRow",
    "PhysicsVector",
    "Recall",
    "Remembered",
    "StateProvider",
]


def _are_sane(*values: object) -> bool:
    """Whether every value is a finite number ≥ 0: what comes from a store is untrusted."""
    return all(isinstance(v, (int, float)) and math.isfinite(v) and v >= 0.0 for v in values)


@dataclass(frozen=True, slots=True)
class PhysicsVector(Plain):
    """What a store keeps of a route.

    ``resistance`` and ``scar_tissue`` in ohms, ``momentum`` per second, ``timestamp`` in seconds of the clock
    of whoever wrote it: a store returns it as it came, and nobody compares it with another clock.
    """

    resistance: float
    momentum: float
    scar_tissue: float
    timestamp: float

    def is_sane(self) -> bool:
        """Whether every number is finite and none is negative."""
        return _are_sane(self.resistance, self.momentum, self.scar_tissue, self.timestamp)


class StateProvider(Protocol):
    """Where state lives. Any method may fail or hang: the pulse survives both.

    A provider may also have ``subscribe(route_id, callback)``, which calls ``callback`` with every later vector of the
    route and returns a function that ends that; and the attributes ``interval`` (seconds between pulses) and ``gamma``
    (γ in [0, 1]), which are the defaults of an engine that is given none (RFC-0007 §7.1).
    """

    async def connect(self) -> None:
        """Open what is needed; calling it again changes nothing."""

    async def disconnect(self) -> None:
        """Release what :meth:`connect` opened; calling it again changes nothing."""

    async def get_vector(self, route_id: str) -> PhysicsVector | None:
        """The vector of a route, or None when nothing is known (cold start)."""

    async def update_vector(self, route_id: str, vector: PhysicsVector) -> None:
        """Keep the vector of a route."""


@runtime_checkable
class Batch(Protocol):
    """Optional: keep many vectors in one round trip."""

    async def update_vectors(self, vectors: Mapping[str, PhysicsVector]) -> None:
        """Keep the vector of each route."""


@dataclass(frozen=True, slots=True)
class Remembered(Plain):
    """A vector as a store kept it, ``age`` seconds ago by the store's own clock."""

    vector: PhysicsVector
    age: float

    def is_sane(self) -> bool:
        """Whether every number is finite and none is negative."""
        vector: object = self.vector
        return isinstance(vector, PhysicsVector) and vector.is_sane() and _are_sane(self.age)


@runtime_checkable
class Recall(Protocol):
    """Optional: a node that starts cold gets back what was known, with its age."""

    async def recall(self, node: str, limit: int) -> Mapping[str, Remembered]:
        """What is remembered of at most ``limit`` routes, the most scarred first.

        ``node``'s own vectors where the store tells nodes apart and has them, else anybody's.
        """
        ...


@dataclass(frozen=True, slots=True)
class NodeRow(Plain):
    """What one node says of a route: its own ``vector``, never blended.

    Its scar decays at ``decay_rate`` per second and is believed by ``evidence`` (recent observations, ≥ 0), which
    itself decays (:data:`atrion.state.blending.EVIDENCE_SECONDS`): silence carries no weight.
    """

    vector: PhysicsVector
    evidence: float
    decay_rate: float

    def is_sane(self) -> bool:
        """Whether every number is finite and none is negative."""
        return self.vector.is_sane() and _are_sane(self.evidence, self.decay_rate)


@dataclass(frozen=True, slots=True)
class ClusterScar(Plain):
    """What the other nodes believe: the mean ``scar`` in ohms, weighted by their ``evidence``, summed here."""

    scar: float
    evidence: float

    def is_sane(self) -> bool:
        """Whether both numbers are finite and none is negative."""
        return _are_sane(self.scar, self.evidence)


@runtime_checkable
class ClusterSync(Protocol):
    """Optional: share scars between nodes, one round trip per pulse, and hear at once of what cannot wait for one."""

    async def exchange(
        self, node: str, rows: Mapping[str, NodeRow], routes: list[str]
    ) -> Mapping[str, ClusterScar]:
        """Keep this node's changed ``rows``; return what the other nodes believe of ``routes``.

        A route left out has not changed since this node's last exchange: the caller goes on with what it heard,
        decayed. After :meth:`~StateProvider.connect` everything counts as changed. The list is not to be changed, and
        a node gives an equal one as long as its routes are the same.
        """
        ...

    def listen(self, node: str, callback: Callable[[str, ClusterScar], None]) -> Callable[[], None]:
        """Call ``callback`` with a route and what the nodes other than ``node`` believe; returns what ends that.

        It may be called from any thread, and a message that is lost costs nothing: the next exchange has it. A store
        that cannot tell by itself calls nobody.
        """
        ...


@dataclass(frozen=True, slots=True)
class Finding(Plain):
    """One thing that was found out about a store, for a person.

    ``check`` names what was looked at in a word or two, ``detail`` says in plain words what was found, and ``cure``
    what to do about it. ``bad`` does not work, ``note`` works and is worth knowing.
    """

    check: str
    level: Literal["good", "note", "bad"]
    detail: str
    cure: str = ""


@runtime_checkable
class Inspect(Protocol):
    """Optional: list what is kept, and say what is wrong with the store."""

    async def list_routes(self, limit: int) -> list[str]:
        """At most ``limit`` of the routes that are kept, in no particular order."""
        ...

    async def list_nodes(self) -> list[str]:
        """The nodes that are alive."""
        ...

    async def diagnose(self) -> list[Finding]:
        """What a look at the store finds; also while it cannot be connected to, and then why. Never raises."""
        ...
