"""The vitals of routes as plain data: what a dashboard shows, computed and published only when somebody looks."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import zlib
from collections.abc import Callable, Mapping
from typing import Any, Final

from atrion.control.parts import PARTS, resistance_parts
from atrion.control.route import Route
from atrion.control.snapshot import RouteSnapshot
from atrion.physics.laws import seconds_until_scar
from atrion.physics.modes import Mode
from atrion.state.port import VITALS_MOST_BYTES, StateProvider, VitalsExchange

__all__ = ["FLOWS_AT", "VitalsPublisher", "pack_vitals", "route_vitals", "unpack_vitals"]

logger: logging.Logger = logging.getLogger("atrion")

FLOWS_AT: Final = 44.0
"""Volts at which the band of normal requests begins."""
MOST_ROUTES: Final = 500
"""Routes whose vitals a node publishes, those with the highest resistance and the most calls first."""
EVERY: Final = 1.0
"""Seconds between two looks for watchers, and so between two publications."""
DEADLINE: Final = 0.5
"""Seconds that a look or a publication may take."""


def route_vitals(route: Route, seen: RouteSnapshot) -> dict[str, Any]:
    """A route as data for JSON: ohms rounded to hundredths, times in seconds.

    ``parts`` add up to ``resistance``: ``base``, the pressure of ``latency``, ``errors`` and reported ``saturation``,
    ``momentum``, this node's ``scar``, what the ``cluster`` adds to it (or takes away), and the live ``queue``.
    ``clears_in`` are the seconds after which normal requests flow if failures and late answers stop now: 0 when they
    flow already, None where they wait for something other than decay, such as a queue.
    ``in_flight``, ``pool_in_flight`` and ``limit`` are calls, or in the unit of the route's costs.
    ``tiers`` are counts since somebody began to count, ``{"bulk": {"admitted", "shed", "would_shed"}, …}`` with the
    lowest tier first, as in :class:`~atrion.RouteSnapshot`; empty while nobody counts (:meth:`atrion.Atrion.count`).
    """
    settings = route.settings
    k = settings.constants
    parts = dict(zip(PARTS, resistance_parts(route, seen.resistance), strict=True))
    slo = settings.slo
    unit = route.unit()
    return {
        "resistance": round(seen.resistance, 2),
        "mode": seen.mode.name.lower(),
        "reason": None if seen.reason is None else seen.reason.value,
        "parts": {name: round(ohms, 2) for name, ohms in parts.items()},
        "in_flight": _amount(seen.in_flight),
        "leases": seen.leases,
        "lease_ohms": 0.0 if route.leases is None else round(route.leases.ohms(), 2),
        "pool_in_flight": _amount(route.pool.load() * unit),
        "limit": round(route.pool.capacity.limit * unit or seen.capacity, 1),
        "latency": round(seen.service_time, 5),
        "admitted": seen.admitted,
        "shed": seen.shed,
        "would_shed": seen.would_shed,
        "enforced": seen.enforced,
        "tiers": {name: dict(counts) for name, counts in seen.tiers.items()},
        "pool": seen.pool,
        "pool_reason": seen.pool_reason,
        "gamma": settings.gamma,
        "slo": {"latency": slo.latency, "error_rate": slo.error_rate},
        "clears_in": _clears_in(seen, parts["base"] + parts["queue"], k.decay_rate, k.scar_factor),
    }


def _amount(value: float) -> float:
    """Calls as they are, and a cost rounded to tenths."""
    return int(value) if value == int(value) else round(value, 1)


def _clears_in(seen: RouteSnapshot, standing: float, decay_rate: float, scar_factor: float) -> float | None:
    """Seconds until normal requests flow past the ``standing`` ohms, which do not decay, and what is left of scars."""
    broken = seen.mode is Mode.CIRCUIT_BREAKER
    if seen.resistance < FLOWS_AT and not broken:
        return 0.0
    wait = seconds_until_scar(seen.blended_scar, FLOWS_AT - standing, decay_rate)
    if broken:
        wait = max(wait, seconds_until_scar(seen.scar_tissue, scar_factor, decay_rate))
    return max(round(wait, 1), 0.1) if wait < 3600.0 else None


def pack_vitals(rows: Mapping[str, Mapping[str, Any]]) -> bytes:
    """The vitals of a node's routes as bytes for a store: at most :data:`MOST_ROUTES`, the most telling first."""
    telling = sorted(rows.items(), key=lambda item: (-item[1]["resistance"], -item[1]["admitted"]))[
        :MOST_ROUTES
    ]
    return zlib.compress(json.dumps(dict(telling), separators=(",", ":")).encode(), 1)


def unpack_vitals(packed: bytes) -> dict[str, dict[str, Any]] | None:
    """What :func:`pack_vitals` packed; None for anything else, for a store is untrusted."""
    try:
        unpacker = zlib.decompressobj()
        text = unpacker.decompress(packed, VITALS_MOST_BYTES)
        rows = json.loads(text) if unpacker.eof else None
    except (zlib.error, ValueError, RecursionError):
        return None
    if (
        not isinstance(rows, dict)
        or len(rows) > MOST_ROUTES
        or not all(_is_row(row) for row in rows.values())
    ):
        return None
    return rows


_SHAPE: Final[Mapping[str, tuple[type, ...]]] = {
    "resistance": (int, float),
    "mode": (str,),
    "reason": (str, type(None)),
    "parts": (dict,),
    "in_flight": (int, float),
    "pool_in_flight": (int, float),
    "limit": (int, float),
    "latency": (int, float),
    "admitted": (int,),
    "shed": (int,),
    "would_shed": (int,),
    "enforced": (bool,),
    "pool": (str,),
    "pool_reason": (str,),
    "gamma": (int, float),
    "slo": (dict,),
    "clears_in": (int, float, type(None)),
    "tiers": (dict,),
}
_PARTS: Final = frozenset(PARTS)
_MODES: Final = frozenset(mode.name.lower() for mode in Mode)


def _is_row(row: object) -> bool:
    """Whether a row has every field, of its kind and finite, so that a dashboard can rely on it."""
    if not isinstance(row, dict) or not all(isinstance(row.get(name), kind) for name, kind in _SHAPE.items()):
        return False
    numbers = [row[name] for name, kind in _SHAPE.items() if int in kind and row[name] is not None]
    parts, slo = row["parts"], row["slo"]
    return (
        row["mode"] in _MODES
        and parts.keys() == _PARTS
        and slo.keys() == {"latency", "error_rate"}
        and all(
            isinstance(tier, dict) and all(map(_is_count, tier.values())) for tier in row["tiers"].values()
        )
        and all(
            map(
                _is_finite,
                [
                    *numbers,
                    *parts.values(),
                    slo["error_rate"],
                    0.0 if slo["latency"] is None else slo["latency"],
                ],
            )
        )
    )


def _is_count(value: object) -> bool:
    return isinstance(value, int) and value >= 0


def _is_finite(value: object) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


class VitalsPublisher:
    """Publishes a node's vitals about once a second while somebody watches; else it only asks whether anybody does.

    ``now`` gives the time in seconds of a monotonic clock.
    """

    def __init__(self, provider: StateProvider, now: Callable[[], float]) -> None:
        self._exchange = provider if isinstance(provider, VitalsExchange) else None
        self._now = now
        self._due = -math.inf
        self.failures: int = 0

    async def turn(self, node: str, vitals: Callable[[], Mapping[str, Mapping[str, Any]]]) -> None:
        """Publish what ``vitals`` gives if it is time and somebody watches; failures are counted, and logged once."""
        exchange = self._exchange
        now = self._now()
        if exchange is None or self._due - EVERY <= now < self._due:
            return
        self._due = now + 0.95 * EVERY
        try:
            async with asyncio.timeout(DEADLINE):
                if await exchange.is_watched():
                    await exchange.publish_vitals(node, pack_vitals(vitals()))
        except Exception as error:
            self.failures += 1
            if self.failures == 1:
                logger.warning("vitals could not be published, so dashboards miss this node: %s", error)
