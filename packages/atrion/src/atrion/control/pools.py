"""Which pool a route is in: the one that was named, the one that all share until there is evidence, or its own."""

from __future__ import annotations

import math
from typing import Final, final

from atrion._native import mypyc_attr
from atrion.control.pool import Pool
from atrion.sensing.capacity import INITIAL, SLACK, Capacity
from atrion.sensing.contrast import Contrast

__all__ = ["ALONE", "Membership", "Pools"]

ALONE: Final = 3
"""Rank of a pool of one route. Those below are shared by all routes that have not left them."""
LATENCY_MEMORY: Final = 64.0
"""Calls over which a route's mean latency is averaged."""
CALM: Final = 10.0
"""Seconds of calm over which its usual calls in flight are averaged."""
BACKOFF: Final = 20.0
"""Seconds after which a route that has left its first pool is tried there again, doubled each time."""
LONGEST: Final = 3600.0
"""Seconds after which it is in any case."""
RESTED: Final = 5.0
"""Seconds of calm after which a pool is known to be well, or of no calm after which it is known not to be."""
SCALE: Final = 30.0
"""Times by which latencies of one queue differ at most: calls that are slower by nature tell nothing of its wait."""

UNKNOWN: Final = 0
SHARES: Final = 1
APART: Final = -1


@final
class Pools:
    """The pools of an engine, by name and by rank. ``watched`` is in how many calls inner ones are looked for now."""

    __slots__ = ("_named", "_ranked", "watched")

    def __init__(self) -> None:
        self.watched: int = 0
        self._named: dict[str, Pool] = {}
        self._ranked: list[Pool | None] = [None] * ALONE

    def named(self, name: str, now: float) -> Pool:
        """The pool of that name, made where it is new."""
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
    """A route's place among the pools that nobody has named, and the evidence for it. Times in seconds.

    ``share`` is the number of its own calls in flight below which the pool's queue is not held against it: what a
    route uses in calm is not refused because of others, until it is known to wait for the same. ``believed`` is the
    verdict so far, ``nested`` says that its calls are made within another route's. ``latency`` is the mean of its
    calls.
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
        "nested",
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
        self.nested: bool = False
        self._claim: float = 0.0
        self._moves: int = 0
        self._until: float = 0.0
        self._seen: float = 0.0
        self._usual: float = 0.0

    def reason(self) -> str:
        """Why the route is where it is."""
        if self.nested:
            return "its calls are made within those of another route"
        if self.rank >= ALONE:
            return "it does not wait or fail when the others do"
        if self.believed == SHARES:
            return "its calls wait when the pool is full"
        return (
            "no evidence yet" if self.rank == 0 else "it does not wait when the routes of the first pool do"
        )

    def average(self, calls: int, latency: float) -> None:
        """``calls`` have been answered since the last time, after ``latency`` seconds in all."""
        if self.contrast is not None and not self.contrast.kept:
            self.contrast = None  # another route needed it more
        if calls > 0:
            self._seen = min(self._seen + calls, LATENCY_MEMORY)
            self.latency += min(calls / self._seen, 1.0) * (latency / calls - self.latency)

    def claim_contrast(self, capacity: Capacity) -> Contrast | None:
        """The contrast that the next call of the route counts in."""
        self.contrast = capacity.claim()
        return self.contrast

    def review(self, pool: Pool, first: Pool, in_flight: int, sick: bool, now: float, dt: float) -> int:
        """The rank where the route belongs, after ``dt`` seconds more in ``pool``; ``first`` is the pool of rank 0.

        ``sick`` says that it is not answered properly.
        """
        if self.nested:
            return ALONE
        if sick:
            self._until = max(self._until, now + BACKOFF)
        elif self.rank > 0 and now > self._until and (first.calm > RESTED or pool.calm < -RESTED):
            return 0  # where nobody waits it makes no difference; where it waits alone, it may belong to the others
        if self.rank >= ALONE or pool.members < 2:
            self.share = 0.0
            return self.rank
        if pool.calm > 0.0 and dt > 0.0:
            self._usual += (1.0 - math.exp(-dt / CALM)) * (in_flight - self._usual)
        verdict = self._verdict(pool.capacity)
        if verdict != UNKNOWN:
            self.believed = verdict
        if sick or verdict == APART:
            self._moves += 1
            self._until = now + min(BACKOFF * 2.0 ** min(self._moves - 1, 10), LONGEST)
            return ALONE if sick else self.rank + 1
        claim = 0.0 if self.believed == SHARES else max(self._used(), INITIAL / pool.members)
        pool.claims += claim - self._claim
        self._claim = claim
        self.share = claim * min(pool.capacity.calls / max(pool.claims, 1e-9), 1.0)
        return self.rank

    def _used(self) -> float:
        """Calls that the route may well have in flight in calm."""
        return self._usual + SLACK * math.sqrt(self._usual)

    def _verdict(self, capacity: Capacity) -> int:
        usual = capacity.usual_latency()
        if usual > 0.0 and self.latency > 0.0 and not 1.0 / SCALE < self.latency / usual < SCALE:
            return APART
        if self.contrast is None or capacity.wait <= 0.0:
            return UNKNOWN
        return capacity.verdict(self.contrast)

    def leave(self, pool: Pool) -> None:
        """Take from ``pool``, which the route leaves, what it has there."""
        if self.contrast is not None:
            pool.capacity.release(self.contrast)
            self.contrast = None
        pool.claims -= self._claim
        self._claim = 0.0

    def move_to(self, rank: int) -> None:
        """The route is in the pool of ``rank`` from now on."""
        self.rank = rank
        self.believed = UNKNOWN
        self.share = 0.0 if rank >= ALONE else self._used()
