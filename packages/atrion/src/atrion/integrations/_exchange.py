"""One HTTP exchange of an ASGI application: the latency, end and outcome of its call, from its messages. Compiled."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final, final

from atrion.control.call import Call
from atrion.control.outcome import Rejections, outcome_of, rejection_in, stems_from_rejection
from atrion.errors import FlowRejected
from atrion.propagation import RequestContext

__all__ = ["Exchange", "Message", "Receive", "Send"]

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

FAILURE: Final = 1


def _is_event_stream(message: Message) -> bool:
    headers = message.get("headers") or ()
    if not isinstance(headers, (list, tuple)):
        headers = message["headers"] = list(headers)  # an iterator gives them only once
    for name, value in headers:  # a loop costs less here than any() of a generator
        if name.lower() == b"content-type" and value.lstrip().lower().startswith(b"text/event-stream"):
            return True
    return False


@final
class Exchange:
    """One request and its response, observed as they pass; errors in here go to ``complain`` and stop nothing."""

    __slots__ = (
        "_answered",
        "_call",
        "_complain",
        "_heard",
        "_rejections",
        "_since",
        "_waits",
        "context",
        "finished",
        "gone",
        "refused",
        "rejected",
        "started",
        "status",
        "unmatched",
    )

    def __init__(
        self,
        call: Call,
        complain: Callable[[str], None],
        unmatched: bool = False,
        context: RequestContext | None = None,
    ) -> None:
        self._call: Call = call
        self._complain: Callable[[str], None] = complain
        self._rejections: Rejections = Rejections()
        self._rejections.enter()
        self._waits: int = 0
        self._since: float = 0.0
        self._answered: bool = False
        self._heard: bool = False
        """The request's body is complete: a further ``receive`` waits for the client to disconnect."""
        self.unmatched: bool = unmatched
        """The request matches no route."""
        self.context: RequestContext | None = context
        """What a peer has told of the request."""
        self.status: int = 0
        self.gone: bool = False
        self.started: bool = False
        self.rejected: bool = False
        """The response was made from a rejection by an error handler, here or in a framework."""
        self.refused: FlowRejected | None = None
        """The rejection for which a framework sends its page of errors, which is then held back."""
        self.finished: bool = False

    def receives(self) -> bool:
        """The application asks for a message; returns whether its call waits until :meth:`go_on`."""
        waits = not (self._heard or self._answered)
        if waits:
            self._wait()
        return waits

    def received(self, message: Message) -> None:
        """The application gets a ``message`` of the request."""
        kind: str = message["type"]
        if kind == "http.disconnect":
            self._heard = True
            if not self.finished:
                self.gone = True
        elif kind == "http.request" and not message.get("more_body", False):
            self._heard = True

    def sends(self, message: Message) -> bool:
        """The application sends a ``message``, and waits until :meth:`go_on`; returns whether it is the last one."""
        last = self._note(message)
        self._wait()
        return last

    def _note(self, message: Message) -> bool:
        """Evaluate a ``message`` of the response; returns whether it is the last one."""
        kind: str = message["type"]
        if kind == "http.response.start":
            self.started = True
            if not self.gone:  # a response that no client receives is not counted
                self.status = int(message["status"])
                self.rejected = stems_from_rejection(sys.exception()) or (
                    self.status == 503 and self._rejections.seen
                )
                if self.status == 500 and self.rejected:
                    self.refused = rejection_in(sys.exception())
                    self.started = self.refused is None
            try:
                if _is_event_stream(message):
                    self._answer()  # its first event may come at any time
            except Exception:
                self._complain("reading an answer's headers")
        elif kind.startswith("http.response.") and kind.endswith(("body", "send")):
            last = not message.get("more_body", False)
            if not last and (message.get("body", b"") or not kind.endswith("body")):
                self._answer()
            self.finished = last
            return last
        return False

    # --- reporting to the call ------------------------------------------------------------------------------

    def _wait(self) -> None:
        """The call waits for its client; simultaneous waits count once."""
        self._waits += 1
        if self._waits == 1:
            try:
                self._since = self._call.now()
            except Exception:
                self._complain("a measurement")

    def go_on(self) -> None:
        """A wait of the call for its client has ended."""
        self._waits -= 1
        if self._waits == 0:
            try:
                self._call.wait(self._call.now() - self._since)
            except Exception:
                self._complain("a measurement")

    def _answer(self) -> None:
        """A stream begins; an error status still counts at its end."""
        if not (self._answered or self.gone) and 0 < self.status < 400:
            self._answered = True
            try:
                self._call.answer()
            except Exception:
                self._complain("a measurement")

    def leave(self, error: BaseException | None) -> None:
        """The application has returned, or raised ``error``."""
        self._rejections.leave()
        self.close(error)

    def close(self, error: BaseException | None) -> None:
        """End the call, unless it has ended, with the outcome of the exchange and of ``error``, if any."""
        try:
            if self._call.active:
                self._judge(error)
                self._call.finish()
        except Exception:
            self._complain("a measurement")

    def _judge(self, error: BaseException | None) -> None:
        """Set the outcome of the call."""
        call = self._call
        if self.rejected or rejection_in(error) is not None:
            call.ignore()
        elif self.status >= 500:
            call.fail()
        elif self.gone:
            call.ignore()
        elif error is not None:
            if outcome_of(error) == FAILURE:
                call.fail()
            else:  # cancelled, the caller's mistake, or the process is exiting
                call.ignore()
        elif self.status >= 400:
            call.ignore()
        elif not self.finished:
            call.fail()  # it returned without a complete response
