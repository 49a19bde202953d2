"""Whether a call is tried again, and when: one budget of retries for each destination, shared by all of a process."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, Final

from atrion.control.outcome import outcome_of, status_of
from atrion.errors import ConfigurationError, FlowRejected
from atrion.integrations._retry_after import seconds_of
from atrion.propagation import current
from atrion.sensing.telemetry import Outcome

__all__ = ["RetryBudget", "asked_to_wait", "budget", "may_pass", "requested"]

SHARE: Final = 0.1
"""Retries for each request."""
LEAST: Final = 3.0
"""Retries for each second, so that what is called seldom may be tried again."""
MOST: Final = 30.0
"""Retries that are saved up at most."""
ROUNDING: Final = 1e-6
"""Ten tenths are a retry."""


class RetryBudget:
    """How often calls of one destination may be tried again: for a tenth of the requests, and three times a second.

    Where many requests fail, retries multiply the load on what is overloaded already; the budget bounds that.
    Requests are counted by the guards of clients, under the destination's name, or by :meth:`request`. Safe in threads.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._left = LEAST
        self._last = clock()
        self._lock = threading.Lock()

    def request(self) -> None:
        """A request is made."""
        with self._lock:
            self._left = min(self._left + SHARE, MOST)

    def allows(self) -> bool:
        """Whether a request may be tried again now."""
        with self._lock:
            return self._allows()

    def withdraw(self) -> bool:
        """Whether a request may be tried again now; it is then counted as a retry."""
        with self._lock:
            allowed = self._allows()
            if allowed:
                self._left -= 1.0
            return allowed

    def _allows(self) -> bool:
        now = self._clock()
        self._left = min(self._left + LEAST * max(now - self._last, 0.0), MOST)
        self._last = now
        return self._left >= 1.0 - ROUNDING


_budgets: dict[str, RetryBudget] = {}


def budget(destination: str) -> RetryBudget:
    """The budget of a destination: the ``dependency`` of a guard, or the host that it goes by.

    Raises:
        ConfigurationError: it has no name.
    """
    if not destination:
        raise ConfigurationError("destination", destination, "give the name of a dependency or a host")
    found = _budgets.get(destination)
    return _budgets.setdefault(destination, RetryBudget()) if found is None else found


def requested(destination: str) -> None:
    """A guard lets a request pass to a destination, which counts where somebody asked for its budget."""
    found = _budgets.get(destination)
    if found is not None:
        found.request()


def asked_to_wait(error: BaseException | None) -> float | None:
    """Seconds for which an error asks to wait: as a rejection, or by the ``Retry-After`` of its response."""
    if isinstance(error, FlowRejected):
        return error.decision.retry_after
    headers: Any = getattr(getattr(error, "response", None), "headers", None) or getattr(
        error, "headers", None
    )
    try:
        return (
            None if headers is None else seconds_of(headers.get("retry-after") or headers.get("Retry-After"))
        )
    except Exception:  # the error's own properties
        return None


def may_pass(error: BaseException) -> bool:
    """Whether another attempt may succeed, and in time: not after what was the caller's fault, but for 429.

    Nothing is tried again within a request that is a retry itself: the retries of several services would multiply.
    """
    if not isinstance(error, Exception) or current().attempt > 0:
        return False
    rejected = isinstance(error, FlowRejected) or status_of(error) == 429
    if not rejected and outcome_of(error) != Outcome.FAILURE:
        return False
    remaining = current().remaining()
    return remaining is None or remaining > (asked_to_wait(error) or 0.0)
