"""Retries by tenacity that wait as they are asked to, within the budget of their destination."""

from __future__ import annotations

from typing import Any

from atrion.integrations._budget import RetryBudget, asked_to_wait, budget, may_pass
from atrion.integrations._missing import needs
from atrion.physics.config import check_number

with needs("atrion.integrations.tenacity", "tenacity"):
    from tenacity import RetryCallState, retry_if_exception, stop_after_attempt, wait_random_exponential
    from tenacity.stop import stop_base
    from tenacity.wait import wait_base

__all__ = ["OutOfBudget", "RetryBudget", "WaitAsAsked", "budget", "policy"]


class OutOfBudget(stop_base):
    """Stop where the retries of a destination are used up."""

    def __init__(self, destination: str) -> None:
        self._budget = budget(destination)

    def __call__(self, retry_state: RetryCallState) -> bool:
        """Whether to stop; otherwise the next attempt is counted."""
        return not self._budget.withdraw()


class WaitAsAsked(wait_base):
    """Wait for ``retry_after`` where an error says it, and else as ``otherwise``; never less than that."""

    def __init__(self, otherwise: wait_base | None = None) -> None:
        self._otherwise = wait_random_exponential(multiplier=0.1, max=5.0) if otherwise is None else otherwise

    def __call__(self, retry_state: RetryCallState) -> float:
        """Seconds until the next attempt."""
        outcome = retry_state.outcome
        asked = None if outcome is None else asked_to_wait(outcome.exception())
        return max(asked or 0.0, self._otherwise(retry_state))


def policy(destination: str, *, attempts: int = 3) -> dict[str, Any]:
    """Arguments for tenacity: ``@retry(**policy("payments"))``.

    What was the caller's fault is not tried again, nor what could not be answered before the deadline of the request
    being served. A rejection and a 429 are, after the time that they ask for. The last error is raised as it is.

    Args:
        destination: The ``dependency`` of a guard, or the host that it goes by: all its retries share one budget.
        attempts: Attempts at most, 1 to 100.

    Raises:
        ConfigurationError: an argument is unusable.
    """
    check_number("attempts", attempts, 1, 100)
    return {
        "retry": retry_if_exception(may_pass),
        "wait": WaitAsAsked(),
        "stop": stop_after_attempt(attempts) | OutOfBudget(destination),
        "reraise": True,
    }
