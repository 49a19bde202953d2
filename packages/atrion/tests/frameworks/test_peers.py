"""Servers accept what peers send, and what they call is sent on: a chain of services treats a request alike."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import grpc
import httpx
import pytest
import requests
from django.http import StreamingHttpResponse
from django.urls import path
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from flask import Flask

from atrion import ConfigurationError, Tier
from atrion.integrations import fastapi as for_fastapi
from atrion.integrations import flask as for_flask
from atrion.integrations import requests as for_requests
from atrion.integrations.httpx import AsyncAtrionTransport
from atrion.integrations.wsgi import AtrionMiddleware
from atrion.physics import BAND_WIDTH, band
from atrion.propagation import Peers, current
from atrion.testing import force_shed
from packages.atrion.tests.conformance.django_services import DJANGO, AsyncDjango, Django
from packages.atrion.tests.conformance.grpc_services import GRPC, METHODS, Grpc, GrpcClient
from packages.atrion.tests.conformance.http_services import HTTP
from packages.atrion.tests.conformance.incoming import HttpClient, Incoming, unkept
from packages.atrion.tests.conformance.serving import served_by_threads, served_by_uvicorn
from packages.atrion.tests.conformance.subject import Heard, Recorder

LOCAL = Peers(networks=["127.0.0.0/8"], hosts=["127.0.0.1"])
SERVICES = (*HTTP, *DJANGO)


@contextmanager
def asked(service: Incoming, **options: Any) -> Iterator[tuple[Recorder, Heard, httpx.Client]]:
    heard = Heard()
    with service.session(**options) as it:
        it.engine.observe(heard)
        assert isinstance(it.client, HttpClient)
        with unkept(it.client.port) as http:
            yield it.engine, heard, http


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.title)
def test_a_peers_tier_and_place_count(service: Incoming) -> None:
    baggage = {"baggage": "atrion.tier=low,atrion.place=0.25"}
    with asked(service, peers=LOCAL, key=service.user) as (engine, heard, http):
        assert http.get("/items/7", headers={**baggage, "x-user": "7"}).status_code == 200
        with force_shed(Tier.LOW, engine=engine):
            assert http.get("/items/7", headers=baggage).status_code == 503
            assert http.get("/items/7").status_code == 200
    assert heard.decisions[0].voltage == band(Tier.LOW) + 0.25 * BAND_WIDTH


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.title)
def test_a_peer_cannot_raise_what_is_said_here_and_a_stranger_says_nothing(service: Incoming) -> None:
    baggage = {"baggage": "atrion.tier=critical"}
    with asked(service, peers=LOCAL, tiers={"/items/*": "low"}) as (_, heard, http):
        http.get("/items/7", headers=baggage)
    assert band(Tier.LOW) <= heard.decisions[0].voltage < band(Tier.NORMAL)
    for strangers in (Peers(networks=["10.0.0.0/8"]), None):
        with asked(service, peers=strangers) as (_, heard, http):
            http.get("/items/7", headers=baggage)
        assert band(Tier.NORMAL) <= heard.decisions[0].voltage < band(Tier.HIGH)


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.title)
def test_what_would_be_answered_too_late_is_refused(service: Incoming) -> None:
    with asked(service, peers=LOCAL) as (engine, _, http):
        late = http.get("/items/7", headers={"x-request-deadline": "0"})
        assert late.status_code == 503
        assert late.json()["reason"] == "deadline"
        assert http.get("/items/7", headers={"x-request-deadline": "5000"}).status_code == 200
        assert engine.snapshot()[service.route("item")].shed == 1


@pytest.mark.parametrize("service", GRPC, ids=lambda service: service.title)
def test_grpc_takes_a_peers_tier_and_place(service: Grpc) -> None:
    heard = Heard()
    with service.session(peers=LOCAL) as it:
        it.engine.observe(heard)
        assert isinstance(it.client, GrpcClient)
        with grpc.insecure_channel(f"127.0.0.1:{it.client.port}") as channel:
            metadata = (("baggage", "atrion.tier=low,atrion.place=0.25"),)
            channel.unary_unary(f"/{METHODS['item']}")(b"", metadata=metadata, timeout=20.0)
    assert heard.decisions[0].voltage == band(Tier.LOW) + 0.25 * BAND_WIDTH


def tiers() -> Iterator[bytes]:
    for _ in range(3):
        tier = current().tier
        yield b"none " if tier is None else f"{tier.name} ".encode()


async def async_tiers() -> AsyncIterator[bytes]:
    for chunk in tiers():
        yield chunk


def streaming_wsgi(engine: Recorder) -> AbstractContextManager[HttpClient]:
    def app(environ: dict[str, Any], start: Any) -> Iterator[bytes]:
        start("200 OK", [])
        return tiers()

    return served_by_threads(AtrionMiddleware(app, engine, peers=LOCAL))


def streaming_fastapi(engine: Recorder) -> AbstractContextManager[HttpClient]:
    app = FastAPI()
    for_fastapi.install(app, engine, peers=LOCAL)
    app.get("/stream")(lambda: StreamingResponse(async_tiers()))
    return served_by_uvicorn(app)


class StreamingDjango(Django):
    def urls(self, engine: Recorder, gate: threading.Event) -> Any:
        urls = super().urls(engine, gate)
        urls.urlpatterns = [path("stream", lambda request: StreamingHttpResponse(tiers()))]
        return urls


class AsyncStreamingDjango(AsyncDjango):
    def urls(self, engine: Recorder, gate: threading.Event) -> Any:
        async def view(request: Any) -> StreamingHttpResponse:
            return StreamingHttpResponse(async_tiers())

        urls = super().urls(engine, gate)
        urls.urlpatterns = [path("stream", view)]
        return urls


STREAMING: dict[str, Callable[[Recorder], AbstractContextManager[Any]]] = {
    "wsgi": streaming_wsgi,
    "fastapi": streaming_fastapi,
    "django": lambda engine: StreamingDjango().serve(engine, threading.Event(), {"peers": LOCAL}),
    "django, async": lambda engine: AsyncStreamingDjango().serve(engine, threading.Event(), {"peers": LOCAL}),
}


@pytest.mark.parametrize("framework", STREAMING)
def test_a_body_that_is_made_on_its_way_has_the_requests_context(framework: str) -> None:
    engine = Recorder()
    with STREAMING[framework](engine) as client, unkept(client.port) as http:
        body = http.get("/stream", headers={"baggage": "atrion.tier=low"}).text
    assert body.split() == ["LOW", "LOW", "LOW"]
    assert engine.in_flight() == 0


def test_a_chain_of_services_treats_a_request_alike() -> None:
    engines = [Recorder() for _ in range(3)]
    heard = [Heard() for _ in engines]
    for engine, hears in zip(engines, heard, strict=True):
        engine.observe(hears)
    heads: list[dict[str, Any]] = []
    remaining: list[float | None] = []

    def last(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        heads.append(environ)
        remaining.append(current().remaining())
        start("200 OK", [])
        return [b"ok"]

    middle, edge = FastAPI(), Flask("edge")
    with served_by_threads(AtrionMiddleware(last, engines[2], peers=LOCAL)) as third:

        @middle.get("/middle")
        async def pass_on() -> str:
            transport = AsyncAtrionTransport(engines[1], peers=LOCAL)
            async with httpx.AsyncClient(transport=transport) as client:
                return (await client.get(f"http://127.0.0.1:{third.port}/last")).text

        for_fastapi.install(middle, engines[1], peers=LOCAL)
        with served_by_uvicorn(middle) as second:

            @edge.get("/edge")
            def begin() -> str:
                with requests.Session() as session:
                    session.trust_env = False
                    for_requests.install(session, engines[0], peers=LOCAL)
                    return session.get(f"http://127.0.0.1:{second.port}/middle").json()  # type: ignore[no-any-return]

            gateway = Peers(accept=lambda address, header: header("x-gateway") == "yes")
            for_flask.install(
                edge, engines[0], peers=gateway, tiers={"/edge": "high"}, key=lambda environ: "user-7"
            )
            with served_by_threads(edge) as first, unkept(first.port) as http:
                headers = {"x-gateway": "yes", "x-request-deadline": "15000", "baggage": "user=7"}
                assert http.get("/edge", headers=headers).text == "ok"
    volts = {round(decision.voltage, 4) for each in heard for decision in each.decisions}
    assert len(volts) == 1
    assert band(Tier.HIGH) <= volts.pop() < band(Tier.HIGH) + BAND_WIDTH
    assert [len(each.decisions) for each in heard] == [2, 2, 1]
    assert "atrion.tier=high" in heads[0]["HTTP_BAGGAGE"]
    assert 0 < int(heads[0]["HTTP_X_REQUEST_DEADLINE"]) < 15_000
    assert remaining[0] is not None
    assert current().tier is None


def test_what_are_no_peers_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="peers"):
        AtrionMiddleware(lambda environ, start: [], Recorder(), peers="10.0.0.0/8")  # type: ignore[arg-type]  # as untyped callers may
    with pytest.raises(ConfigurationError, match="peers"):
        for_fastapi.install(FastAPI(), Recorder(), peers="10.0.0.0/8")  # type: ignore[arg-type]  # as untyped callers may
