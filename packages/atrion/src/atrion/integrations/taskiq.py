"""Admission for taskiq: tasks are admitted before they run, and shed ones come back later."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from functools import wraps
from typing import Any, Unpack

from atrion.control.call import Call
from atrion.control.decision import Decision
from atrion.engine import Atrion
from atrion.errors import FlowRejected
from atrion.integrations._missing import needs
from atrion.integrations._work import Tasks, WorkOptions, context_of, delay_of, headers_of, running
from atrion.propagation import NOTHING, RequestContext

with needs("atrion.integrations.taskiq", "taskiq"):
    from taskiq import ScheduleSource, TaskiqMessage, TaskiqMiddleware, TaskiqResult
    from taskiq.exceptions import NoResultError
    from taskiq.kicker import AsyncKicker

__all__ = ["AtrionMiddleware"]

CONTEXT = "atrion_baggage"
"""Label of a task that carries the context."""
_arrived: ContextVar[RequestContext] = ContextVar("atrion_taskiq", default=NOTHING)


class AtrionMiddleware(TaskiqMiddleware):
    """Guard the tasks of a broker: ``broker.with_middlewares(AtrionMiddleware(atrion))``.

    Routes are the names of tasks. A shed task is sent again after ``retry_after``, with its own id: it is never lost.
    The time passes in the ``schedule_source``, or without one in the worker, which then should acknowledge tasks after
    they have run. What a task raises is a failure. The tier and place of the request that sends a task travel with it.

    Args:
        atrion: The engine that decides.
        schedule_source: Where tasks wait that come back later.
        options: Those of :class:`WorkOptions`.

    Raises:
        ConfigurationError: an option is unusable.
    """

    def __init__(
        self,
        atrion: Atrion,
        *,
        schedule_source: ScheduleSource | None = None,
        **options: Unpack[WorkOptions],
    ) -> None:
        super().__init__()
        self._tasks = Tasks(atrion, **options)
        self._source = schedule_source

    def startup(self) -> None:
        """Guard the functions of all tasks."""
        for name, task in self.broker.get_all_tasks().items():
            if not getattr(task.original_func, "__atrion_guarded__", False):
                task.original_func = self._guarded(name, task.original_func)

    def pre_send(self, message: TaskiqMessage) -> TaskiqMessage:
        """A task is about to be sent."""
        baggage = headers_of().get("baggage")
        if baggage is not None:
            message.labels.setdefault(CONTEXT, baggage)
        return message

    def pre_execute(self, message: TaskiqMessage) -> TaskiqMessage:
        """A task is about to run in this context."""
        baggage = message.labels.get(CONTEXT)
        _arrived.set(context_of({"baggage": baggage}.get) if baggage else NOTHING)
        return message

    async def on_error(
        self, message: TaskiqMessage, result: TaskiqResult[Any], exception: BaseException
    ) -> None:
        """A task has raised: if it was shed, it is sent again."""
        if not isinstance(exception, FlowRejected) or exception.decision.route != message.task_name[:256]:
            return
        seconds = delay_of(exception.decision)
        kicker: AsyncKicker[Any, Any] = AsyncKicker(
            task_name=message.task_name, broker=self.broker, labels=message.labels
        ).with_task_id(message.task_id)
        if self._source is None:
            await asyncio.sleep(seconds)
            await kicker.kiq(*message.args, **message.kwargs)
        else:
            due = datetime.now(UTC) + timedelta(seconds=seconds)
            await kicker.schedule_by_time(self._source, due, *message.args, **message.kwargs)
        result.error = NoResultError()

    def _begin(self, name: str) -> Call | None:
        verdict = self._tasks.begin(name, _arrived.get())
        if isinstance(verdict, Decision):
            raise FlowRejected(verdict)
        return verdict

    def _guarded(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        guarded: Any
        if inspect.iscoroutinefunction(function):

            @wraps(function)
            async def run_async(*arguments: Any, **given: Any) -> Any:
                with running(self._begin(name), _arrived.get()):
                    return await function(*arguments, **given)

            guarded = run_async
        else:

            @wraps(function)
            def run(*arguments: Any, **given: Any) -> Any:
                with running(self._begin(name), _arrived.get()):
                    return function(*arguments, **given)

            guarded = run
        guarded.__atrion_guarded__ = True
        marked: Callable[..., Any] = guarded
        return marked
