"""Log records of what happens to a route: it breaks, recovers, begins or ends shedding. Never one a request."""

from __future__ import annotations

import logging

from atrion.control.route import BREAKS, RECOVERS, SHEDS, Route
from atrion.control.shedding import Shedding

__all__ = ["log_event"]

logger: logging.Logger = logging.getLogger("atrion.routes")

NAMES = {BREAKS: "breaks", RECOVERS: "recovers", SHEDS: "begins_shedding"}


def log_event(route: Route, event: int, shedding: Shedding | None) -> None:
    """Log one event as a WARNING, with what it says also as fields of the record."""
    if not logger.isEnabledFor(logging.WARNING):
        return
    resistance = route.resistance()
    reason = route.reason(resistance)
    extra: dict[str, object] = {
        "event": NAMES.get(event, "ends_shedding"),
        "route": route.id,
        "reason": None if reason is None else reason.value,
        "resistance": resistance,
    }
    why = "" if reason is None else f", {reason}"
    if shedding is None:
        what = (
            "breaks: its circuit breaker opens" if event == BREAKS else "recovers: its circuit breaker closes"
        )
        logger.warning("%s %s at %.1f Ω%s", route.id, what, resistance, why, extra=extra)
        return
    tiers, share = shedding.tiers(), shedding.share(route.admitted)
    seconds = max(shedding.last - shedding.began, route.settings.constants.tick)
    extra |= {"tiers": tiers, "share": share, "rate": shedding.shed / seconds if seconds > 0.0 else 0.0}
    extra |= {
        "shed": shedding.shed,
        "seconds": shedding.last - shedding.began,
        "enforced": route.settings.enforce,
    }
    verb = "shedding" if route.settings.enforce else "shedding (in shadow mode: nothing is refused)"
    said = f"{shedding.shed} requests ({share:.0%}), of tiers {', '.join(tiers)}"
    if event == SHEDS:
        logger.warning("%s begins %s: %s; at %.1f Ω%s", route.id, verb, said, resistance, why, extra=extra)
    else:
        lasted = shedding.last - shedding.began
        logger.warning("%s ends %s after %.1f s: %s", route.id, verb, lasted, said, extra=extra)
