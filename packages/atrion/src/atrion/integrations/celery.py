"""Admission for Celery: tasks are admitted before they run, and shed ones come back later."""

from __future__ import annotations

from typing import Any, NoReturn, Unpack

from atrion.control.decision import Decision
from atrion.engine import Atrion
from atrion.errors import ConfigurationError, FlowRejected
from atrion.integrations._missing import needs
from atrion.integrations._work import Tasks, WorkOptions, context_of, delay_of, headers_of, running

with needs("atrion.integrations.celery", "celery"):
    from celery import Celery
    from celery.exceptions import Ignore, Reject, Retry
    from celery.signals import before_task_publish

__all__ = ["install"]


def install(app: Celery, atrion: Atrion, **options: Unpack[WorkOptions]) -> None:
    """Guard the tasks of an application; call it before they are declared.

    Routes are the names of tasks. A shed task is sent again with ``countdown`` as long as ``retry_after``, which is
    no retry of the task's own: it is never lost. What a task raises is a failure, but for ``Retry``, ``Ignore`` and
    ``Reject``. Where a task is called as a function, or eagerly, :class:`FlowRejected` is raised. The tier and place
    of the request that sends a task travel with it.

    Raises:
        ConfigurationError: an option is unusable.
    """
    if not isinstance(app, Celery):
        raise ConfigurationError("app", app, "give a celery.Celery")
    tasks = Tasks(atrion, **options)
    base: Any = app.Task

    class GuardedTask(base):  # type: ignore[misc]  # Celery has no types
        abstract = True

        def __call__(self, *arguments: Any, **given: Any) -> Any:
            request = self.request
            context = context_of(lambda name: (request.headers or {}).get(name) or request.get(name))
            verdict = tasks.begin(self.name, context)
            if isinstance(verdict, Decision):
                _put_back(self, verdict)
            with running(verdict, context, (Retry, Ignore, Reject)):
                return super().__call__(*arguments, **given)

    app.Task = GuardedTask
    before_task_publish.connect(_carry, weak=False, dispatch_uid="atrion")


def _put_back(task: Any, decision: Decision) -> NoReturn:
    """Send a task again, and tell Celery that this was not its turn."""
    request = task.request
    if request.called_directly or request.is_eager:
        raise FlowRejected(decision)
    seconds = delay_of(decision)
    again = task.signature_from_request(request, countdown=seconds, retries=request.retries)
    try:
        again.apply_async()
    except Exception as error:  # the broker is away: it keeps the task
        raise Reject(error, requeue=True) from error
    raise Retry(exc=FlowRejected(decision), when=seconds, sig=again)


def _carry(headers: dict[str, Any] | None = None, **rest: Any) -> None:
    if headers is not None and "baggage" not in headers:
        headers.update(headers_of())
