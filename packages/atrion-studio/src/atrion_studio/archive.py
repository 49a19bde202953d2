"""History from the engine's store, from before the Studio began: resistances and scars."""

from __future__ import annotations

import logging
import time
from typing import Any, Final

from atrion import Atrion
from atrion.errors import AtrionError
from atrion.state.port import KeepsPast, Past
from atrion_studio.history import COLUMNS, History
from atrion_studio.source import stores_of

__all__ = ["Archive"]

logger: logging.Logger = logging.getLogger("atrion.studio")

POINTS: Final = 750
"""Points of a route that are read at once."""
FINEST: Final = 1.0
"""Seconds between two points at least: persistence is written once a second."""
MOST_ROUTES: Final = 500
REFRESH: Final = 10.0
"""Seconds for which it counts as known how far the store reaches back, or that it does not answer."""


class Archive:
    """Extends a history by what the provider or the persistence of an engine keeps; nothing where they keep nothing.

    What a store does not answer is missing, and the Studio's own history goes on.
    """

    def __init__(self, engine: Atrion | None, history: History) -> None:
        self._history = history
        self._past: Past | None = None
        self._begins: float | None = None
        self._due = 0.0
        self._failed = False
        if engine is not None:
            stores = reversed(stores_of(engine))  # its persistence first, if there is one
            readers = (store.past() for store in stores if isinstance(store, KeepsPast))
            self._past = next((reader for reader in readers if reader is not None), None)

    async def begins(self) -> float | None:
        """Unix time of the oldest vector; None without any."""
        now = time.time()
        if self._past is not None and not self._due - REFRESH <= now < self._due:
            try:
                age = await self._past.span()
                self._begins = None if age is None else now - age
                self._failed = False
            except (AtrionError, OSError, TimeoutError) as error:
                self._begins = None
                self._complain(error)
            self._due = now + REFRESH  # only now: who asks meanwhile must not take the store for an empty one
        return self._begins

    async def of(self, route: str, since: float) -> dict[str, Any]:
        """Columns of a route from Unix time ``since`` on, as :meth:`History.of` has them, and what is stored before."""
        found = self._history.of(route, since)
        begins = await self.begins()
        now = time.time()
        first: float = found["at"][0] if found["at"] else now
        since = max(since, begins if begins is not None else first)
        if self._past is None or begins is None or since >= first - FINEST:
            return found
        try:
            step = max((first - since) / POINTS, FINEST)
            older = await self._past.between(route, now - since + FINEST, max(now - first, 0.0), step)
        except (AtrionError, OSError, TimeoutError) as error:
            self._complain(error)
            return found
        stored = {
            "resistance": [round(seen.vector.resistance, 4) for seen in older],
            "part_scar": [round(seen.vector.scar_tissue, 4) for seen in older],
        }
        nothing: list[float | None] = [None] * len(older)
        found["at"] = [now - seen.age for seen in older] + found["at"]
        found["columns"] = {name: stored.get(name, nothing) + found["columns"][name] for name in COLUMNS}
        return found

    async def at(self, instant: float) -> dict[str, Any]:
        """All routes at a Unix time, as :meth:`History.at` has them; only resistance and scar before the Studio's time.

        ``stored`` is true where they come from the store.
        """
        span, begins = self._history.span(), await self.begins()
        if self._past is not None and begins is not None and (span is None or instant < span[0]):
            try:
                seen = await self._past.moment(max(time.time() - max(instant, begins), 0.0), MOST_ROUTES)
            except (AtrionError, OSError, TimeoutError) as error:
                self._complain(error)
            else:
                routes = {
                    route: _row(then.vector.resistance, then.vector.scar_tissue)
                    for route, then in seen.items()
                }
                return {"at": max(instant, begins), "routes": routes, "stored": True}
        return self._history.at(instant)

    def close(self) -> None:
        """Let go of the store."""
        if self._past is not None:
            self._past.close()

    def _complain(self, error: Exception) -> None:
        if not self._failed:
            self._failed = True
            logger.warning("the past that the store keeps could not be read: %s", error)


def _row(resistance: float, scar: float) -> dict[str, Any]:
    """A row of a moment, without what a vector does not tell."""
    return {
        "resistance": round(resistance, 4),
        "mode": None,
        "rates": {"admitted": None, "shed": None},
        "in_flight": None,
        "limit": None,
        "latency": None,
        "parts": {"scar": round(scar, 4)},
    }
