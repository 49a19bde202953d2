"""Retries by stamina that wait as they are asked to, within the budget of their destination."""

from __future__ import annotations

from collections.abc import Callable

from atrion.integrations._budget import RetryBudget, asked_to_wait, budget, may_pass
from atrion.integrations._missing import needs

with needs("atrion.integrations.stamina", "stamina"):
    import stamina  # noqa: F401  # a missing one is told at once

__all__ = ["RetryBudget", "budget", "on"]


def on(destination: str) -> Callable[[Exception], bool | float]:
    """What to try again, for stamina: ``@stamina.retry(on=on("payments"))``.

    What was the caller's fault is not tried again, nor what could not be answered before the deadline of the request
    being served, nor anything beyond the destination's budget, which all its retries share. A rejection and a 429
    wait for as long as they ask.

    Args:
        destination: The ``dependency`` of a guard, or the host that it goes by.

    Raises:
        ConfigurationError: it has no name.
    """
    shared = budget(destination)

    def again(error: Exception) -> bool | float:
        if not may_pass(error) or not shared.withdraw():
            return False
        return asked_to_wait(error) or True

    return again
