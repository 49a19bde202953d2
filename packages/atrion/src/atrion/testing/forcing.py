"""Forced shedding for tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from atrion.control.base import RouteId
from atrion.control.settings import OPEN
from atrion.engine import Atrion, engines
from atrion.physics.voltage import BAND_WIDTH, TierLike, band, level_of

__all__ = ["force_open", "force_shed"]


@contextmanager
def _forced(route_id: RouteId, floor: float, engine: Atrion | None) -> Iterator[None]:
    with ExitStack() as stack:
        for each in engines() if engine is None else [engine]:
            stack.callback(each.force(route_id, floor))
        yield


@contextmanager
def force_open(route_id: RouteId = "*", engine: Atrion | None = None) -> Iterator[None]:
    """Open the breaker of a route, or of all that a pattern matches, while the context lasts: all requests are shed.

    Applies to ``engine``, or to every engine of the process. Learned state does not change.

    Raises:
        ConfigurationError: the route id is invalid.
    """
    with _forced(route_id, OPEN, engine):
        yield


@contextmanager
def force_shed(tier: TierLike, route_id: RouteId = "*", engine: Atrion | None = None) -> Iterator[None]:
    """Shed requests of ``tier`` and lower ones while the context lasts; higher ones are decided as usual.

    Applies to a route or to all that a pattern matches, of ``engine`` or of every engine of the process.

    Raises:
        ConfigurationError: the tier or the route id is invalid.
    """
    with _forced(route_id, band(level_of(tier)) + BAND_WIDTH, engine):
        yield
