"""The pool of each route: the configured one, one that is shared until there is evidence against it, or its own."""

from __future__ import annotations

import math
from typing import Final, final

from atrion._native import mypyc_attr
from atrion.control.pool import Pool
from atrion.sensing.capacity import SLACK, Capacity
from atrion.sensing.contrast import Contrast

__all__ = ["ALONE", "Membership", "Pools"]

ALONE: Final = 3
"""Rank of a pool of one route. Pools of lower rank are shared by all routes that have not left them."""
LATENCY_MEMORY: Final = 64.0
"""Calls over which a route's mean latency is averaged."""
CALM: Final = 10.0
"""Seconds of calm over which a route's usual calls in flight are averaged."""
CLAIM: Final = 16.0
"""Calls in flight that all routes of a pool may have, whatever its saturation, before they were seen in calm."""
BACKOFF: Final = 20.0
"""Seconds after which a route that has left the first pool is tried there again; doubled each time."""
LONGEST: Final = 3600.0
"""Most seconds until then."""
RESTED: Final = 5.0
"""Seconds of calm, or of its absence, after which the state of a pool is certain."""
SCALE: Final = 30.0
"""Largest ratio of latencies in one queue: calls that are slower by nature do not show its wait."""
SLOWER: Final = 3.0
"""Multiple of the pool's mean latency from which on a route is slower than the others."""

UNKNOWN: Final = 0
SHARES: Final = 1
APART: Final = -1


@final
class Pools:
    """The pools of an engine, by name and by rank. ``watched`` counts the active calls that detect nested ones."""

    __slots__ = ("_named", "_ranked", "watched")

    def __init__(self) -> None:
        self.watched: int = 0
        self._named: dict[str, Pool] = {}
        self._ranked: list[Pool | None] = [None] * ALONE

    def named(self, name: str, now: float) -> Pool:
        """The pool of a name, created if it is new."""
        pool = self._named.get(name)
        if pool is None:
            pool = self._named[name] = Pool(now, name=name)
        return pool

    def ranked(self, rank: int, now: float) -> Pool:
        """The shared pool of ``rank``, from 0 to below ALONE."""
        pool = self._ranked[rank]
        if pool is None:
            pool = self._ranked[rank] = Pool(now, rank)
        return pool


@mypyc_attr(acyclic=True)
@final
class Membership:
    """A route's place among the unnamed pools, and the evidence for it. Times in seconds.

    Attributes:
        rank: Rank of the pool.
        share: Calls of the route in flight below which the pool's saturation is not applied to it: the calls that a
            route uses in calm are not shed because of others, until it is known to wait in the same queue.
        latency: Mean latency of the route's calls.
        believed: The last verdict: whether the route waits in the pool's queue.
        alone: The route's own pool, once it had one.
        contrast: Its measurement of the wait, while the pool has one for it.
    """

    __slots__ = (
        "_claim",
        "_moves",
        "_seen",
        "_until",
        "_usual",
        "alone",
        "believed",
        "contrast",
        "latency",
        "rank",
        "share",
    )

    def __init__(self) -> None:
        self.contrast: Contrast | None = None
        self.share: float = 0.0
        self.latency: float = 0.0
        self.alone: Pool | None = None
        self.rank: int = 0
        self.believed: int = UNKNOWN
        self._claim: float = 0.0
        self._moves: int = 0
        self._until: float = 0.0
        self._seen: float = 0.0
        self._usual: float = 0.0

    def reason(self) -> str:
        """Why the route is in its pool."""
        if self.rank >= ALONE:
            return "it does not wait or fail when the others do"
        if self.believed == SHARES:
            return "its calls wait when the pool is full"
        return (
            "no evidence yet" if self.rank == 0 else "it does not wait when the routes of the first pool do"
        )

    def average(self, calls: int, latency: float) -> None:
        """Average the latency of ``calls`` more calls, which took ``latency`` seconds in all."""
        if self.contrast is not None and not self.contrast.kept:
            self.contrast = None  # it was given to another route
        if calls > 0:
            self._seen = min(self._seen + calls, LATENCY_MEMORY)
            self.latency += min(calls / self._seen, 1.0) * (latency / calls - self.latency)

    def claim_contrast(self, capacity: Capacity) -> Contrast | None:
        """Get a contrast for the calls of the route."""
        self.contrast = capacity.claim()
        return self.contrast

    def review(self, pool: Pool, first: Pool, in_flight: float, failing: bool, now: float, dt: float) -> int:
        """The rank of the pool where the route belongs, after ``dt`` seconds more in ``pool``.

        ``first`` is the pool of rank 0; ``failing`` says that the route's calls fail.
        """
        if failing:
            self._until = max(self._until, now + BACKOFF)
        elif self.rank > 0 and now > self._until and (first.calm > RESTED or pool.calm < -RESTED):
            return 0  # in calm it makes no difference; under pressure, it may belong to the others
        if self.rank >= ALONE or pool.members < 2:
            self.share = 0.0
            return self.rank
        if pool.calm > 0.0 and dt > 0.0:
            self._usual += (1.0 - math.exp(-dt / CALM)) * (in_flight - self._usual)
        verdict = self._verdict(pool.capacity)
        if verdict != UNKNOWN:
            self.believed = verdict
        if failing or verdict == APART:
            self._moves += 1
            self._until = now + min(BACKOFF * 2.0 ** min(self._moves - 1, 10), LONGEST)
            return ALONE if failing else self.rank + 1
        claim = 0.0 if self.believed == SHARES else max(self._used(), CLAIM / pool.members)
        pool.claims += claim - self._claim
        self._claim = claim
        self.share = claim * min(pool.capacity.calls / max(pool.claims, 1e-9), 1.0)
        return self.rank

    def _used(self) -> float:
        """Calls that the route has in flight in calm, with their usual spread."""
        return self._usual + SLACK * math.sqrt(self._usual)

    def _verdict(self, capacity: Capacity) -> int:
        if self._differs(capacity):
            return APART
        if self.contrast is None or capacity.wait <= 0.0:
            return UNKNOWN
        return capacity.verdict(self.contrast)

    def _differs(self, capacity: Capacity) -> bool:
        """Whether the calls take so much longer or shorter than the others that the queue cannot be seen in them."""
        usual = capacity.usual_latency()
        if usual <= 0.0 or self.latency <= 0.0:
            return False
        if self.latency * SCALE < usual:
            return True
        contrast = self.contrast
        if (
            contrast is not None
            and not capacity.is_common(contrast)
            and contrast.usual_latency() > SCALE * usual
        ):
            return True
        # In a long queue, the calls of all routes take many times their usual latency.
        return self.latency > max(SCALE * usual, SLOWER * capacity.service_time)

    def leave(self, pool: Pool) -> None:
        """Give back the contrast and the claim that the route has in ``pool``."""
        if self.contrast is not None:
            pool.capacity.release(self.contrast)
            self.contrast = None
        pool.claims -= self._claim
        self._claim = 0.0

    def move_to(self, rank: int) -> None:
        """Note that the route has moved to the pool of ``rank``."""
        self.rank = rank
        self.believed = UNKNOWN
        self.share = 0.0 if rank >= ALONE else self._used()
