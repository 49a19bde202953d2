"""What a shed request is answered."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Awaitable, Callable

from atrion.control.decision import Decision
from atrion.integrations._exchange import Message, Receive, Send
from atrion.integrations._names import Scope

__all__ = ["ASGIApp", "Respond", "problem", "retry_after", "with_retry_after"]

ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]
Respond = Callable[[Scope, Decision], ASGIApp]
"""Gives the ASGI application, such as a Starlette response, that answers a shed request."""

_rng = random.SystemRandom()  # a seeded one would be the host's, or alike in all its children


def retry_after(decision: Decision) -> int:
    """Whole seconds, ≥ 1, with jitter so that clients do not return together."""
    seconds = max(math.ceil(decision.retry_after), 1)
    return seconds + _rng.randint(0, seconds // 4 + 1)


def problem(decision: Decision) -> ASGIApp:
    """An RFC 9457 problem with status 503."""
    seconds = retry_after(decision)
    body = json.dumps(
        {
            "type": "about:blank",
            "title": "Service Unavailable",
            "status": 503,
            "detail": f"{decision.route} sheds load; come back in {seconds} s.",
            "route": decision.route,
            "reason": str(decision.reason),
            "retry_after": seconds,
        }
    ).encode()
    headers = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", str(len(body)).encode()),
        (b"retry-after", str(seconds).encode()),
        (b"cache-control", b"no-store"),
    ]

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 503, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return answer


def with_retry_after(app: ASGIApp, decision: Decision) -> ASGIApp:
    """An application's answer with ``Retry-After`` and ``Cache-Control: no-store``, where it does not set them."""
    added = [(b"retry-after", str(retry_after(decision)).encode()), (b"cache-control", b"no-store")]

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
