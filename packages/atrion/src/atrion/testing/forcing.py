"""Routes that shed because a test says so."""

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
    """Within it, the breaker of a route, or of those that a pattern matches, is open: everything is shed.

    It counts for ``engine``, or for every engine that there is. What the routes have learnt stays as it is.

    Raises:
        ConfigurationError: an unusable route id.
    """
    with _forced(route_id, OPEN, engine):
        yield


@contextmanager
def force_shed(tier: TierLike, route_id: RouteId = "*", engine: Atrion | None = None) -> Iterator[None]:
    """Within it, requests of ``tier`` and below are shed, and those above flow as usual.

    It counts for a route, or for those that a pattern matches, of ``engine``, or of every engine that there is.

    Raises:
        ConfigurationError: an unusable tier or route id.
    """
    with _forced(route_id, band(level_of(tier)) + BAND_WIDTH, engine):
        yield
