"""The state port (RFC-0007 §3.1): the methods that a provider must have, and optional protocols.

The four methods of :class:`StateProvider` are enough. :class:`ClusterSync`, :class:`Recall`, :class:`Batch`,
:class:`Inspect`, :class:`VitalsExchange` and :class:`KeepsPast` are optional and stand alone: those that ``isinstance``
finds are used.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, Protocol, runtime_checkable

from atrion._plain import Plain

__all__ = [
    "VITALS_EXPIRY",
    "VITALS_MOST_BYTES",
    "Batch",
    "ClusterScar",
    "ClusterSync",
    "Finding",
    "Inspect",
    "KeepsPast",
    "NodeRow",
    "Past",
    "PhysicsVector",
    "Recall",
    "Remembered",
    "StateProvider",
    "VitalsExchange",
]


def _are_sane(*values: object) -> bool:
    """Whether every value is a finite number ≥ 0; stores are untrusted."""
    return all(isinstance(v, (int, float)) and math.isfinite(v) and v >= 0.0 for v in values)


@dataclass(frozen=True, slots=True)
class PhysicsVector(Plain):
    """The state of a route that a store keeps.

    ``resistance`` and ``scar_tissue`` in ohms, ``momentum`` per second, ``timestamp`` in seconds of the
    writer's clock: a store returns it unchanged, and it is never compared with another clock.
    """

    resistance: float
    momentum: float
    scar_tissue: float
    timestamp: float

    def is_sane(self) -> bool:
        """Whether every number is finite and none is negative."""
        return _are_sane(self.resistance, self.momentum, self.scar_tissue, self.timestamp)


class StateProvider(Protocol):
    """A store of state. Any method may fail or hang without consequences for requests.

    A provider may also have ``subscribe(route_id, callback)``, which calls ``callback`` with every later vector of the
    route and returns a function that ends this; and the attributes ``interval`` (seconds between pulses) and ``gamma``
    (γ in [0, 1]), which are the defaults of an engine that is given none (RFC-0007 §7.1).
    """

    async def connect(self) -> None:
        """Connect; a second call has no effect."""

    async def disconnect(self) -> None:
        """Disconnect; a second call has no effect."""

    async def get_vector(self, route_id: str) -> PhysicsVector | None:
        """The vector of a route, or None if there is none (cold start)."""

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
    """Optional: return stored state, with its age, to a node that starts."""

    async def recall(self, node: str, limit: int) -> Mapping[str, Remembered]:
        """The stored vectors of at most ``limit`` routes, the most scarred first.

        The vectors are ``node``'s own if the store has them, else any node's.
        """
        ...


@dataclass(frozen=True, slots=True)
class NodeRow(Plain):
    """One node's opinion of a route: its own ``vector``, never blended.

    The scar decays at ``decay_rate`` per second. It is weighted by ``evidence`` (recent observations, ≥ 0), which
    decays as well (:data:`atrion.state.blending.EVIDENCE_SECONDS`), so that a silent node has no weight.
    """

    vector: PhysicsVector
    evidence: float
    decay_rate: float

    def is_sane(self) -> bool:
        """Whether every number is finite and none is negative."""
        return self.vector.is_sane() and _are_sane(self.evidence, self.decay_rate)


@dataclass(frozen=True, slots=True)
class ClusterScar(Plain):
    """The other nodes' opinion: mean ``scar`` in ohms, weighted by their evidence, and the sum of that ``evidence``."""

    scar: float
    evidence: float

    def is_sane(self) -> bool:
        """Whether both numbers are finite and none is negative."""
        return _are_sane(self.scar, self.evidence)


@runtime_checkable
class ClusterSync(Protocol):
    """Optional: share scars between nodes in one round trip per pulse, and announce jumps at once."""

    async def exchange(
        self, node: str, rows: Mapping[str, NodeRow], routes: list[str]
    ) -> Mapping[str, ClusterScar]:
        """Store this node's changed ``rows``; return the other nodes' opinion of ``routes``.

        A route that is missing from the result has not changed since this node's last exchange, and the caller decays
        the last answer. After :meth:`~StateProvider.connect`, every route counts as changed. The list must not be
        modified; a node passes an equal one as long as its routes are the same.
        """
        ...

    def listen(self, node: str, callback: Callable[[str, ClusterScar], None]) -> Callable[[], None]:
        """Call ``callback`` with a route and the opinion of the other nodes; returns a function that ends this.

        The callback may be called from any thread. A lost message does no harm: the next exchange has the same
        information. A store that cannot notify never calls it.
        """
        ...


@dataclass(frozen=True, slots=True)
class Finding(Plain):
    """One result of a store's diagnosis, for people.

    ``check`` names the check in a word or two, ``detail`` describes the result, and ``cure`` says what to do about it.
    The level ``bad`` means that it does not work, ``note`` that it works and something is worth knowing.
    """

    check: str
    level: Literal["good", "note", "bad"]
    detail: str
    cure: str = ""


@runtime_checkable
class Inspect(Protocol):
    """Optional: list the contents of the store, and diagnose it."""

    async def list_routes(self, limit: int) -> list[str]:
        """At most ``limit`` of the stored routes, in no particular order."""
        ...

    async def list_nodes(self) -> list[str]:
        """The nodes that are alive."""
        ...

    async def diagnose(self) -> list[Finding]:
        """Diagnose the store, also while it cannot be connected to. Never raises."""
        ...


VITALS_EXPIRY: Final = 5.0
"""Seconds for which a node's vitals are kept, and for which watchers count as watching."""
VITALS_MOST_BYTES: Final = 1 << 20
"""Bytes that the vitals of one node may have."""


@runtime_checkable
class VitalsExchange(Protocol):
    """Optional: pass on each node's vitals, as bytes, to a dashboard, for as long as one watches."""

    async def is_watched(self) -> bool:
        """Whether somebody has called :meth:`watch_vitals` within the last :data:`VITALS_EXPIRY` seconds."""
        ...

    async def publish_vitals(self, node: str, vitals: bytes) -> None:
        """Keep what a node says of itself for :data:`VITALS_EXPIRY` seconds, in place of what it said before.

        Raises:
            ProviderError: it is longer than :data:`VITALS_MOST_BYTES`, or cannot be kept.
        """

    async def watch_vitals(self) -> Mapping[str, tuple[float, bytes]]:
        """Watch, and return what the nodes last said, each with its age in seconds."""
        ...


class Past(Protocol):
    """What a store remembers of routes. Ages are in seconds, by the store's clock."""

    async def span(self) -> float | None:
        """The age of the oldest vector; None without any."""
        ...

    async def between(self, route_id: str, oldest: float, newest: float, step: float) -> list[Remembered]:
        """The vectors of a route between two ages, oldest first: the last one of each ``step`` seconds."""
        ...

    async def moment(self, age: float, limit: int) -> Mapping[str, Remembered]:
        """The vectors that at most ``limit`` routes had then, each as it was last written until then."""
        ...

    def close(self) -> None:
        """Let go of what reading has opened."""


@runtime_checkable
class KeepsPast(Protocol):
    """Optional: keep past vectors, and let a dashboard read them."""

    def past(self) -> Past | None:
        """A reader that shares nothing with the provider, so that no pulse waits for it; None if nothing is kept.

        It may be used from any event loop, but from one at a time.
        """
        ...
