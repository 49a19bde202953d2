"""An engine that keeps its flows, under the ASGI middleware: when and how each call ended."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from atrion import Atrion, Call, Outcome
from atrion.control.base import Key
from atrion.integrations.asgi import AtrionMiddleware
from atrion.physics.voltage import TierLike

ROUTE = "r"
QUICK = 0.25
"""Seconds that an idle service may need on a busy machine; every wait below is far longer."""


class Watched(Atrion):
    """An engine that keeps the flows of ``ROUTE``."""

    def __init__(self) -> None:
        super().__init__()
        self.flows: list[Call] = []

    def flow(self, route_id: str, tier: TierLike | None = None, *, key: Key | None = None) -> Call:
        made = super().flow(route_id, tier, key=key)
        if route_id == ROUTE:
            self.flows.append(made)
        return made

    def ended(self) -> list[Outcome]:
        """How the calls that are over ended."""
        return [flow.outcome for flow in self.flows if flow.outcome is not None]

    def latency(self) -> float:
        """Seconds of the only call."""
        (flow,) = self.flows
        assert flow.latency is not None
        return flow.latency


def under(engine: Watched, app: Any) -> AtrionMiddleware:
    return AtrionMiddleware(app, engine, route=lambda scope: ROUTE)


def starlette(engine: Watched, endpoint: Any, **options: Any) -> Starlette:
    """The middleware where Starlette puts it, in front of one page ``/``."""
    guard = Middleware(AtrionMiddleware, atrion=engine, route=lambda scope: ROUTE)
    return Starlette(routes=[Route("/", endpoint, methods=["GET", "POST"])], middleware=[guard], **options)


def in_flight(engine: Watched) -> int:
    return engine.snapshot()[ROUTE].in_flight


def streaming(
    engine: Watched, body: Callable[[], AsyncIterator[bytes]], media_type: str | None = None
) -> Any:
    def page(request: Request) -> Response:
        return StreamingResponse(body(), media_type=media_type)

    return starlette(engine, page)
