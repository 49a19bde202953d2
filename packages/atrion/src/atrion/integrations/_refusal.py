"""The response to a shed request."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Awaitable, Callable

from atrion.control.decision import Decision
from atrion.integrations._exchange import Message, Receive, Send
from atrion.integrations._names import Scope
from atrion.integrations._proxy_status import proxy_status

__all__ = [
    "REDUCED_CAPACITY",
    "ASGIApp",
    "Respond",
    "problem",
    "reply",
    "retry_after",
    "with_retry_after",
]

REDUCED_CAPACITY = "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity"
"""The problem type that the IETF's draft of RateLimit header fields registers for a server short of capacity."""

ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]
Respond = Callable[[Scope, Decision], ASGIApp]
"""Returns the response to a shed request: an ASGI application, such as a Starlette response."""

_rng = random.SystemRandom()  # independent of a seed set by the host, and different in each forked child


def retry_after(decision: Decision) -> int:
    """Whole seconds, ≥ 1, with jitter so that clients do not return together."""
    seconds = max(math.ceil(decision.retry_after), 1)
    return seconds + _rng.randint(0, seconds // 4 + 1)


def reply(decision: Decision) -> tuple[list[tuple[str, str]], bytes]:
    """Headers and body of an RFC 9457 problem with status 503."""
    seconds = retry_after(decision)
    body = json.dumps(
        {
            "type": REDUCED_CAPACITY,
            "title": "Temporary Reduced Capacity",
            "status": 503,
            "detail": f"{decision.route} sheds load; come back in {seconds} s.",
            "route": decision.route,
            "reason": str(decision.reason),
            "retry_after": seconds,
        }
    ).encode()
    return [
        ("content-type", "application/problem+json"),
        ("content-length", str(len(body))),
        ("retry-after", str(seconds)),
        ("cache-control", "no-store"),
        *proxy_status(decision),
    ], body


def problem(decision: Decision) -> ASGIApp:
    """An ASGI application that responds with :func:`reply`."""
    texts, body = reply(decision)
    headers = [(name.encode(), value.encode()) for name, value in texts]

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 503, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return answer


def with_retry_after(app: ASGIApp, decision: Decision) -> ASGIApp:
    """An application's response, with the other headers of :func:`reply` added if missing."""
    texts = [
        ("retry-after", str(retry_after(decision))),
        ("cache-control", "no-store"),
        *proxy_status(decision),
    ]
    added = [(name.encode(), value.encode()) for name, value in texts]

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = list(message.get("headers") or ())
                present = {name.lower() for name, _ in headers}
                headers += [header for header in added if header[0] not in present]
                message = {**message, "headers": headers}
            await send(message)

        await app(scope, receive, sending)

    return answer
