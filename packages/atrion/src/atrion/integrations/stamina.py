"""Retries by stamina that wait as they are asked to, within the budget of their destination."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar, cast

from atrion.errors import ConfigurationError
from atrion.integrations._budget import RetryBudget, asked_to_wait, budget, may_pass
from atrion.integrations._missing import needs
from atrion.propagation import MAX_ATTEMPT, current, use

with needs("atrion.integrations.stamina", "stamina"):
    import stamina
    from stamina.instrumentation import RetryDetails, get_on_retry_hooks, set_on_retry_hooks

__all__ = ["RetryBudget", "budget", "on", "retry"]

P = ParamSpec("P")
T = TypeVar("T")


class _Asked(threading.local):
    """The last error of this thread that may be tried again, by ``id``, and its budget."""

    error: int = 0
    budget: RetryBudget | None = None


_asked = _Asked()


def _count(details: RetryDetails) -> None:
    """A hook of stamina: a call is tried again, which is decided in the thread that has just asked whether it may be.

    stamina asks after the last attempt, too, so asking must not count.
    """
    shared = _asked.budget
    if shared is not None and id(details.caused_by) == _asked.error:
        shared.withdraw()
    _asked.budget = None


def on(destination: str) -> Callable[[Exception], bool | float]:
    """What to try again, for stamina: ``@stamina.retry(on=on("payments"))``.

    What was the caller's fault is not tried again, nor what could not be answered before the deadline of the request
    being served, nor anything within a request that is a retry itself, nor anything beyond the destination's budget,
    which all its retries share. A rejection and a 429 wait for as long as they ask.

    A hook among those of ``stamina.instrumentation`` counts the retries; where it was removed, the last failure counts
    as one, too.

    Args:
        destination: The ``dependency`` of a guard, or the host that it goes by.

    Raises:
        ConfigurationError: it has no name.
    """
    shared = budget(destination)
    if _count not in get_on_retry_hooks():
        set_on_retry_hooks((*get_on_retry_hooks(), _count))

    def again(error: Exception) -> bool | float:
        counts = _count in get_on_retry_hooks()
        if not may_pass(error) or not (shared.allows() if counts else shared.withdraw()):
            return False
        _asked.error, _asked.budget = id(error), shared
        return asked_to_wait(error) or True

    return again


def retry(destination: str, **options: Any) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """A decorator that tries a function again as :func:`on` says: ``@retry("payments", attempts=3)``.

    The context of a retry has its number as ``attempt``, which guards of clients send on.

    Args:
        destination: As for :func:`on`.
        options: Those of ``stamina.retry``, such as ``attempts`` and ``timeout``.

    Raises:
        ConfigurationError: the destination has no name, or the function is a generator function.
    """
    again = on(destination)

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise ConfigurationError("function", function, "give one that is no generator function")
        if inspect.iscoroutinefunction(function):
            asynchronous = cast("Callable[P, Awaitable[Any]]", function)

            @wraps(function)
            async def awaited(*arguments: P.args, **given: P.kwargs) -> Any:
                async for attempt in stamina.retry_context(again, **options):
                    with attempt, use(attempt=_attempt(attempt)):
                        return await asynchronous(*arguments, **given)
                raise AssertionError("an attempt returns or raises")

            return cast("Callable[P, T]", awaited)

        @wraps(function)
        def called(*arguments: P.args, **given: P.kwargs) -> T:
            for attempt in stamina.retry_context(again, **options):
                with attempt, use(attempt=_attempt(attempt)):
                    return function(*arguments, **given)
            raise AssertionError("an attempt returns or raises")

        return called

    return decorate


def _attempt(attempt: stamina.Attempt) -> int:
    return min(current().attempt + attempt.num - 1, MAX_ATTEMPT)
