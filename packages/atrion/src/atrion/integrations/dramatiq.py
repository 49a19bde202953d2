"""Admission for Dramatiq: messages are admitted before their actors run, and shed ones come back later."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from typing import Any, Unpack

from atrion.control.decision import Decision
from atrion.engine import Atrion
from atrion.integrations._missing import needs
from atrion.integrations._work import Tasks, WorkOptions, context_of, delay_of, headers_of, running

with needs("atrion.integrations.dramatiq", "dramatiq"):
    from dramatiq import Broker, Message, Middleware
    from dramatiq.errors import Retry
    from dramatiq.middleware import SkipMessage

__all__ = ["AtrionMiddleware"]

CONTEXT = "atrion"
"""Option of a message that carries the context."""


class AtrionMiddleware(Middleware):
    """Guard the messages of a broker: ``broker.add_middleware(AtrionMiddleware(atrion))``.

    Routes are the names of actors. A shed message is sent again, delayed by ``retry_after``, before this one is
    acknowledged: it is never lost, and the actor's own retries are not used up. What an actor raises is a failure, but
    for ``Retry``. The tier and place of the request that sends a message travel with it.

    Args:
        atrion: The engine that decides.
        options: Those of :class:`WorkOptions`.

    Raises:
        ConfigurationError: an option is unusable.
    """

    def __init__(self, atrion: Atrion, **options: Unpack[WorkOptions]) -> None:
        self._tasks = Tasks(atrion, **options)
        self._running: dict[str, ExitStack] = {}

    def before_enqueue(self, broker: Broker, message: Message[Any], delay: int | None) -> None:
        """A message is about to be sent."""
        message.options.setdefault(CONTEXT, headers_of())

    def before_process_message(self, broker: Broker, message: Any) -> None:
        """A message is about to be processed.

        Raises:
            SkipMessage: it was shed, and sent again.
        """
        context = context_of(dict(message.options.get(CONTEXT) or {}).get)
        verdict = self._tasks.begin(message.actor_name, context)
        if isinstance(verdict, Decision):
            broker.enqueue(message, delay=int(delay_of(verdict) * 1000))
            raise SkipMessage(str(verdict))
        stack = ExitStack()
        stack.enter_context(running(verdict, context, (Retry,)))
        self._running[message.message_id] = stack

    def after_process_message(
        self,
        broker: Broker,
        message: Any,
        *,
        result: Any = None,
        exception: BaseException | None = None,
    ) -> None:
        """A message was processed."""
        stack = self._running.pop(message.message_id, None)
        if stack is not None:
            with suppress(BaseException):  # it was raised where it belongs
                stack.__exit__(type(exception) if exception else None, exception, None)
