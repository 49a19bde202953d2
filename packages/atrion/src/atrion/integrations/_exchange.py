"""One HTTP exchange of an ASGI application: the latency, end and outcome of its call, from its messages."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from atrion.control.call import Call
from atrion.control.outcome import Rejections, outcome_of, rejection_in, stems_from_rejection
from atrion.sensing.telemetry import Outcome

__all__ = ["Exchange", "Message", "Receive", "Send"]

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


def _is_event_stream(message: Message) -> bool:
    headers = message.get("headers") or ()
    if not isinstance(headers, (list, tuple)):
        headers = message["headers"] = list(headers)  # an iterator gives them only once
    for name, value in headers:  # a loop costs less here than any() of a generator
        if name.lower() == b"content-type" and value.lstrip().lower().startswith(b"text/event-stream"):
            return True
    return False


class Exchange:
    """One request and its response, observed as they pass; errors in here go to ``complain`` and stop nothing."""

    __slots__ = (
        "_answered",
        "_call",
        "_complain",
        "_receive",
        "_rejections",
        "_send",
        "_since",
        "_waits",
        "finished",
        "gone",
        "heard",
        "rejected",
        "started",
        "status",
    )

    def __init__(self, call: Call, receive: Receive, send: Send, complain: Callable[[str], None]) -> None:
        self._call = call
        self._receive = receive
        self._send = send
        self._complain = complain
        self._rejections = Rejections()
        self._rejections.enter()
        self._waits = 0
        self._since = 0.0
        self._answered = False
        self.status = 0
        self.gone = False
        self.heard = False
        """The request's body is complete: a further ``receive`` waits for the client to disconnect."""
        self.started = False
        self.rejected = False
        """The response was made from a rejection by an error handler, here or in a framework."""
        self.finished = False

    async def receive(self) -> Message:
        waits = not (self.heard or self._answered)
        if waits:
            self._wait()
        try:
            message = await self._receive()
        finally:
            if waits:
                self._go_on()
        kind = message["type"]
        if kind == "http.disconnect":
            self.heard = True
            if not self.finished:
                self.gone = True
        elif kind == "http.request" and not message.get("more_body", False):
            self.heard = True
        return message

    async def send(self, message: Message) -> None:
        last = self._note(message)
        waits = not self._answered
        if waits:
            self._wait()
        try:
            await self._send(message)
        except OSError:  # servers signal a disconnected client like this
            self.gone = True
            raise
        finally:
            if waits:
                self._go_on()
        if last:
            self.close(None)

    def _note(self, message: Message) -> bool:
        """Evaluate a ``message`` of the response; returns whether it is the last one."""
        kind = message["type"]
        if kind == "http.response.start":
            self.started = True
            if not self.gone:  # a response that no client receives is not counted
                self.status = int(message["status"])
                self.rejected = stems_from_rejection(sys.exception()) or (
                    self.status == 503 and self._rejections.seen
                )
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

    def _go_on(self) -> None:
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
            if outcome_of(error) == Outcome.FAILURE:
                call.fail()
            else:  # cancelled, the caller's mistake, or the process is exiting
                call.ignore()
        elif self.status >= 400:
            call.ignore()
        elif not self.finished:
            call.fail()  # it returned without a complete response
