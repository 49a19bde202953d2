"""Admission for arq: jobs are admitted before they run, and shed ones come back later."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any, Final, ParamSpec, TypeVar, Unpack

from atrion.control.decision import Decision
from atrion.engine import Atrion
from atrion.errors import ConfigurationError
from atrion.integrations._missing import needs
from atrion.integrations._work import Tasks, WorkOptions, context_of, delay_of, headers_of, running

with needs("atrion.integrations.arq", "arq"):
    from arq import ArqRedis, Retry
    from arq.constants import retry_key_prefix
    from arq.jobs import Job

__all__ = ["enqueue_job", "guard"]

P = ParamSpec("P")
T = TypeVar("T")
HEADERS: Final = "atrion_headers"
"""Argument of a job with the context of the request that sent it: jobs of arq have no headers."""


def guard(
    atrion: Atrion, **options: Unpack[WorkOptions]
) -> Callable[[Callable[P, Awaitable[T]]], Callable[P, Awaitable[T]]]:
    """A decorator for the functions of a worker: ``functions = [guard(atrion)(resize)]``. See :func:`enqueue_job`.

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
            headers: Any = given.pop(HEADERS, None)
            context = context_of((headers if isinstance(headers, dict) else {}).get)
            verdict = tasks.begin(name, context)
            if isinstance(verdict, Decision):
                await _forget_try(arguments[0] if arguments else None)
                raise Retry(defer=delay_of(verdict))
            with running(verdict, context, (Retry,)):
                return await function(*arguments, **given)

        return job

    return decorate


async def enqueue_job(pool: ArqRedis, function: str, *arguments: Any, **given: Any) -> Job | None:
    """As ``pool.enqueue_job(function, ...)``, with the tier and place of the request being served.

    The function needs a :func:`guard`, which takes the argument ``atrion_headers`` away that they travel in.
    """
    headers = headers_of()
    if headers:
        given = {HEADERS: headers, **given}
    return await pool.enqueue_job(function, *arguments, **given)


async def _forget_try(ctx: Any) -> None:
    """Being shed is not one of the job's tries, after the last of which arq would give it up."""
    if isinstance(ctx, dict) and "redis" in ctx and "job_id" in ctx:
        await ctx["redis"].decr(retry_key_prefix + ctx["job_id"])
