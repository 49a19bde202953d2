"""Retries by tenacity that wait as they are asked to, within the budget of their destination."""

from __future__ import annotations

from typing import Any

from atrion.integrations._budget import RetryBudget, asked_to_wait, budget, may_pass
from atrion.integrations._missing import needs
from atrion.physics.config import check_number
from atrion.propagation import MAX_ATTEMPT, current, use

with needs("atrion.integrations.tenacity", "tenacity"):
    from tenacity import RetryCallState, stop_after_attempt, wait_random_exponential
    from tenacity.retry import retry_base
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


class _Retry(retry_base):
    """Whether to try again, and the attempt in the context of each retry: set before it, and reset after it."""

    def __call__(self, retry_state: RetryCallState) -> bool:
        entered = retry_state.__dict__.pop("_atrion_use", None)
        if entered is not None:
            entered.__exit__(None, None, None)
        outcome = retry_state.outcome
        error = None if outcome is None else outcome.exception()
        return error is not None and may_pass(error)

    @staticmethod
    def begin(retry_state: RetryCallState) -> None:
        if retry_state.attempt_number > 1:
            attempt = min(current().attempt + retry_state.attempt_number - 1, MAX_ATTEMPT)
            entered = use(attempt=attempt)
            entered.__enter__()
            retry_state.__dict__["_atrion_use"] = entered


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
    being served, nor anything within a request that is a retry itself: retries of several services would multiply. A
    rejection and a 429 are, after the time that they ask for. The last error is raised as it is. The context of a retry
    has its number as ``attempt``.

    Args:
        destination: The ``dependency`` of a guard, or the host that it goes by: all its retries share one budget.
        attempts: Attempts at most, 1 to 100.

    Raises:
        ConfigurationError: an argument is unusable.
    """
    check_number("attempts", attempts, 1, 100)
    retry = _Retry()
    return {
        "retry": retry,
        "before": retry.begin,
        "wait": WaitAsAsked(),
        "stop": stop_after_attempt(attempts) | OutOfBudget(destination),
        "reraise": True,
    }
