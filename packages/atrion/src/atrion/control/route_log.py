"""Log records of what happens to a route: its breaker opens or closes, shedding begins or ends. Never one a request."""

from __future__ import annotations

import logging

from atrion.control.route import Route
from atrion.control.shedding import Shedding

__all__ = ["log_breaker", "log_shedding"]

logger: logging.Logger = logging.getLogger("atrion.routes")


def log_breaker(route: Route, opened: bool) -> None:
    """Log as a WARNING that the circuit breaker has opened or closed; the facts are also fields of the record."""
    if not logger.isEnabledFor(logging.WARNING):
        return
    extra, why = _facts(route, "breaks" if opened else "recovers")
    what = "breaks: its circuit breaker opens" if opened else "recovers: its circuit breaker closes"
    logger.warning("%s %s at %.1f Ω%s", route.id, what, extra["resistance"], why, extra=extra)


def log_shedding(route: Route, shedding: Shedding, ended: bool) -> None:
    """Log as a WARNING that shedding has begun or ended; the facts are also fields of the record."""
    if not logger.isEnabledFor(logging.WARNING):
        return
    extra, why = _facts(route, "ends_shedding" if ended else "begins_shedding")
    tiers, share = shedding.tiers(), shedding.share(route.admitted)
    lasted = shedding.last - shedding.began
    seconds = max(lasted, route.settings.constants.tick)
    extra |= {
        "tiers": tiers,
        "share": share,
        "rate": shedding.shed / seconds if seconds > 0.0 else 0.0,
        "shed": shedding.shed,
        "seconds": lasted,
        "enforced": route.settings.enforce,
    }
    verb = "shedding" if route.settings.enforce else "shedding (in shadow mode: nothing is refused)"
    said = f"{shedding.shed} requests ({share:.0%}), of tiers {', '.join(tiers)}"
    if ended:
        logger.warning("%s ends %s after %.1f s: %s", route.id, verb, lasted, said, extra=extra)
    else:
        ohms = extra["resistance"]
        logger.warning("%s begins %s: %s; at %.1f Ω%s", route.id, verb, said, ohms, why, extra=extra)


def _facts(route: Route, event: str) -> tuple[dict[str, object], str]:
    """The fields of a record, and the reason as its text says it."""
    resistance = route.resistance()
    reason = route.reason(resistance)
    facts: dict[str, object] = {
        "event": event,
        "route": route.id,
        "reason": None if reason is None else reason.value,
        "resistance": resistance,
    }
    return facts, "" if reason is None else f", {reason}"
