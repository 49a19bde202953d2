"""What the middleware makes of a call that is shed within a request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route

from atrion import FlowRejected, Outcome, PhysicsVector
from atrion.integrations.asgi import AtrionMiddleware
from packages.atrion.tests.integration.asgi_services import InAnotherTask, serve
from packages.atrion.tests.integration.asgi_watched import (
    ROUTE,
    Watched,
    in_flight,
    starlette,
    streaming,
    under,
)


@pytest.fixture
def engine() -> Watched:
    return Watched()


def needs_a_bank(engine: Watched, grouped: bool = False) -> FastAPI:
    app = FastAPI()

    @app.get("/")
    async def pay() -> str:
        if grouped:
            async with asyncio.TaskGroup() as group:
                group.create_task(bank())
        else:
            await bank()
        return "ok"

    async def bank() -> None:
        async with engine.flow("bank"):
            pass

    return app


def inside(engine: Watched, app: FastAPI) -> FastAPI:
    app.add_middleware(AtrionMiddleware, atrion=engine, route=lambda scope: ROUTE)
    return app


@pytest.mark.parametrize("grouped", [False, True])
def test_a_rejection_that_leaves_the_application_is_answered_as_one(grouped: bool, engine: Watched) -> None:
    with serve(inside(engine, needs_a_bank(engine, grouped))) as client:
        engine.restore("bank", PhysicsVector(0.0, 0.0, 150.0, 0.0))
        response = client.get("/")
    assert response.status_code == 503
    assert int(response.headers["retry-after"]) >= 1
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["route"] == "bank"
    assert engine.ended() == [Outcome.IGNORED]
    assert in_flight(engine) == 0


@pytest.mark.parametrize("place", [inside, under])
def test_a_rejection_that_the_application_answers_is_nobodys_fault(place: Any, engine: Watched) -> None:
    app = needs_a_bank(engine)

    @app.exception_handler(FlowRejected)
    async def busy(request: Request, error: Exception) -> Response:
        return PlainTextResponse("busy", 503)

    with serve(place(engine, app)) as client:
        engine.restore("bank", PhysicsVector(0.0, 0.0, 150.0, 0.0))
        assert client.get("/").text == "busy"
    assert engine.ended() == [Outcome.IGNORED]


def test_a_frameworks_page_of_errors_for_a_rejection_is_replaced(engine: Watched) -> None:
    with serve(under(engine, needs_a_bank(engine))) as client:
        engine.restore("bank", PhysicsVector(0.0, 0.0, 150.0, 0.0))
        response = client.get("/")
        assert (response.status_code, response.json()["route"]) == (503, "bank")
        assert "retry-after" in response.headers
    assert engine.ended() == [Outcome.IGNORED]


def test_a_page_of_errors_for_a_rejection_is_replaced_where_the_application_does_not_raise(
    engine: Watched,
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        try:
            async with engine.flow("bank"):
                raise AssertionError
        except FlowRejected:
            await send({"type": "http.response.start", "status": 500, "headers": []})
            await send({"type": "http.response.body", "body": b"sorry"})

    engine.restore("bank", PhysicsVector(0.0, 0.0, 150.0, 0.0))
    with serve(under(engine, app)) as client:
        response = client.get("/")
    assert (response.status_code, response.json()["route"]) == (503, "bank")
    assert engine.ended() == [Outcome.IGNORED]


@pytest.mark.parametrize("status, outcome", [(503, Outcome.IGNORED), (500, Outcome.FAILURE)])
def test_an_answer_made_where_a_call_was_shed(status: int, outcome: Outcome, engine: Watched) -> None:
    """It is nobody's fault if it says so, by 503; a rejection that was dealt with excuses nothing else."""

    async def page(request: Request) -> Response:
        try:
            async with engine.flow("bank"):
                raise AssertionError
        except FlowRejected:
            pass
        return PlainTextResponse("busy", status)

    with serve(starlette(engine, page)) as client:
        engine.restore("bank", PhysicsVector(0.0, 0.0, 150.0, 0.0))
        assert client.get("/").status_code == status
    assert engine.ended() == [outcome]


def test_a_503_without_any_rejection_is_a_failure_also_after_a_request_with_one(engine: Watched) -> None:
    async def page(request: Request) -> Response:
        if "shed" in request.query_params:
            async with engine.flow("bank"):
                raise AssertionError
        return PlainTextResponse("out of order", 503)

    with serve(starlette(engine, page)) as client:
        engine.restore("bank", PhysicsVector(0.0, 0.0, 150.0, 0.0))
        assert client.get("/?shed").status_code == client.get("/").status_code == 503
    assert engine.ended() == [Outcome.IGNORED, Outcome.FAILURE]


@pytest.mark.parametrize("endpoint", ["async", "in a thread"])
def test_a_rejection_that_is_answered_in_another_task_or_thread_is_nobodys_fault(
    endpoint: str, engine: Watched
) -> None:
    app = FastAPI()

    if endpoint == "async":

        @app.get("/")
        async def pay() -> None:
            async with engine.flow("bank"):
                raise AssertionError
    else:

        @app.get("/")
        def pay_in_a_thread() -> None:
            with engine.flow("bank"):
                raise AssertionError

    @app.exception_handler(FlowRejected)
    def busy(request: Request, error: Exception) -> Response:
        return PlainTextResponse("busy", 503)

    app.add_middleware(InAnotherTask)
    with serve(inside(engine, app)) as client:
        engine.restore("bank", PhysicsVector(0.0, 0.0, 150.0, 0.0))
        assert client.get("/").text == "busy"
    assert engine.ended() == [Outcome.IGNORED]


def test_a_request_that_an_inner_middleware_sheds_is_not_the_outers_fault(engine: Watched) -> None:
    async def page(request: Request) -> Response:
        raise AssertionError

    inner = Starlette(routes=[Route("/", page)], middleware=[Middleware(AtrionMiddleware, atrion=engine)])
    outer = Starlette(routes=[Mount("/", inner)], middleware=[Middleware(InAnotherTask)])
    engine.restore("GET /", PhysicsVector(0.0, 0.0, 150.0, 0.0))
    with serve(under(engine, outer)) as client:
        response = client.get("/")
    assert (response.status_code, response.json()["route"]) == (503, "GET /")
    assert engine.ended() == [Outcome.IGNORED]


def test_a_rejection_after_the_answer_began_is_raised(engine: Watched) -> None:
    engine.restore("bank", PhysicsVector(0.0, 0.0, 150.0, 0.0))

    async def body() -> AsyncIterator[bytes]:
        yield b"half"
        async with engine.flow("bank"):
            yield b"other half"

    with serve(streaming(engine, body)) as client, pytest.raises(httpx.RemoteProtocolError):
        client.get("/")
    assert engine.ended() == [Outcome.IGNORED]
