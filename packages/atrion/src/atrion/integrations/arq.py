"""Admission for arq: jobs are admitted before they run, and shed ones come back later."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar, Unpack

from atrion.control.decision import Decision
from atrion.engine import Atrion
from atrion.errors import ConfigurationError
from atrion.integrations._missing import needs
from atrion.integrations._work import Tasks, WorkOptions, delay_of, running
from atrion.propagation import NOTHING

with needs("atrion.integrations.arq", "arq"):
    from arq import Retry
    from arq.constants import retry_key_prefix

__all__ = ["guard"]

P = ParamSpec("P")
T = TypeVar("T")


def guard(
    atrion: Atrion, **options: Unpack[WorkOptions]
) -> Callable[[Callable[P, Awaitable[T]]], Callable[P, Awaitable[T]]]:
    """A decorator for the functions of a worker: ``functions = [guard(atrion)(resize)]``.

    Routes are the names of functions. A shed job is deferred by ``retry_after``, which does not count as one of its
    tries: it is never lost. What a job raises is a failure, but for ``Retry``.

    Raises:
        ConfigurationError: an option is unusable.
    """
    tasks = Tasks(atrion, **options)

    def decorate(function: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
        name = getattr(function, "__qualname__", "")
        if not name:
            raise ConfigurationError("function", function, "give a coroutine function")

        @wraps(function)
        async def job(*arguments: P.args, **given: P.kwargs) -> T:
            verdict = tasks.begin(name, NOTHING)
            if isinstance(verdict, Decision):
                await _forget_try(arguments[0] if arguments else None)
                raise Retry(defer=delay_of(verdict))
            with running(verdict, NOTHING, (Retry,)):
                return await function(*arguments, **given)

        return job

    return decorate


async def _forget_try(ctx: Any) -> None:
    """Being shed is not one of the job's tries, after the last of which arq would give it up."""
    if isinstance(ctx, dict) and "redis" in ctx and "job_id" in ctx:
        await ctx["redis"].decr(retry_key_prefix + ctx["job_id"])
