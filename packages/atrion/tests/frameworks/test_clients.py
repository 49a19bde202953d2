"""What guards of clients do beyond the conformance table: the context they send on, and attempts of their own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import partial
from typing import Any

import aiohttp
import grpc
import httpx
import pytest
import requests
import urllib3
from sqlalchemy import create_engine, text
from sqlalchemy.exc import IntegrityError

from atrion import Atrion, ConfigurationError, FlowRejected, Outcome, Reason
from atrion.integrations import redis as for_redis
from atrion.integrations import requests as for_requests
from atrion.integrations import sqlalchemy as for_sqlalchemy
from atrion.integrations.aiohttp_client import guard
from atrion.integrations.grpc_client import ClientInterceptor, aio_interceptors
from atrion.integrations.httpx import AsyncAtrionTransport, AtrionTransport
from atrion.integrations.urllib3 import AtrionPoolManager
from atrion.integrations.wsgi import AtrionMiddleware as WsgiMiddleware
from atrion.propagation import Peers, use
from atrion.testing import force_open, force_shed
from packages.atrion.tests.conformance.serving import served_by_threads
from packages.atrion.tests.conformance.subject import Recorder, eventually

Get = Callable[[str], None]
Heads = list[dict[str, str]]


@contextmanager
def telling(*statuses: tuple[str, str | None]) -> Iterator[tuple[str, Heads]]:
    """The address of a service that keeps the heads of requests, and answers by statuses and times to retry after."""
    heads: Heads = []
    left = list(statuses)

    def app(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        heads.append(
            {
                name[5:].lower().replace("_", "-"): value
                for name, value in environ.items()
                if name[:5] == "HTTP_"
            }
        )
        status, after = left.pop(0) if left else ("200 OK", None)
        if status == "hold":
            time.sleep(2.0)
            status = "200 OK"
        start(status, [] if after is None else [("retry-after", after)])
        return [b"ok"]

    with served_by_threads(app) as client:
        yield f"http://127.0.0.1:{client.port}/", heads


def by_httpx(engine: Atrion, peers: Peers) -> Get:
    def get(url: str) -> None:
        with httpx.Client(transport=AtrionTransport(engine, peers=peers)) as client:
            client.get(url, headers={"baggage": "user=7,atrion.tier=critical", "x-atrion-tier": "high"})

    return get


def by_async_httpx(engine: Atrion, peers: Peers) -> Get:
    async def get(url: str) -> None:
        async with httpx.AsyncClient(transport=AsyncAtrionTransport(engine, peers=peers)) as client:
            await client.get(url, headers={"baggage": "user=7,atrion.tier=critical", "x-atrion-tier": "high"})

    return lambda url: asyncio.run(get(url))


def by_requests(engine: Atrion, peers: Peers) -> Get:
    def get(url: str) -> None:
        with requests.Session() as session:
            session.trust_env = False
            for_requests.install(session, engine, peers=peers)
            session.get(url, headers={"baggage": "user=7,atrion.tier=critical", "x-atrion-tier": "high"})

    return get


def by_urllib3(engine: Atrion, peers: Peers) -> Get:
    def get(url: str) -> None:
        with AtrionPoolManager(engine, peers=peers, manager={"retries": False}) as pool:
            headers = {"Baggage": "user=7,atrion.tier=critical", "X-Atrion-Tier": "high"}
            pool.request("GET", url, headers=headers)

    return get


def by_aiohttp(engine: Atrion, peers: Peers) -> Get:
    async def get(url: str) -> None:
        headers = {"baggage": "user=7,atrion.tier=critical", "x-atrion-tier": "high"}
        middlewares = [guard(engine, peers=peers)]
        async with (
            aiohttp.ClientSession(middlewares=middlewares) as session,
            session.get(url, headers=headers) as response,
        ):
            await response.read()

    return lambda url: asyncio.run(get(url))


CLIENTS = [by_httpx, by_async_httpx, by_requests, by_urllib3, by_aiohttp]


@pytest.mark.parametrize("client", CLIENTS)
def test_peers_are_sent_the_context(client: Callable[[Atrion, Peers], Get]) -> None:
    get = client(Recorder(), Peers(hosts=["127.0.0.1"]))
    with telling() as (url, heads), use(tier="low", place=0.25, timeout=15.0):
        get(url)
    assert heads[0]["baggage"] == "user=7,atrion.tier=low,atrion.place=0.250000"
    assert 0 < int(heads[0]["x-request-deadline"]) <= 15_000


@pytest.mark.parametrize("client", CLIENTS)
def test_strangers_are_told_nothing(client: Callable[[Atrion, Peers], Get]) -> None:
    get = client(Recorder(), Peers(hosts=["payments"]))
    with telling() as (url, heads), use(tier="low", place=0.25, timeout=15.0):
        get(url)
    assert heads[0]["baggage"] == "user=7"
    assert "x-request-deadline" not in heads[0]
    assert "x-atrion-tier" not in heads[0]


@pytest.mark.parametrize("client", CLIENTS)
def test_nobody_waits_longer_than_the_request_being_served_can(
    client: Callable[[Atrion, Peers], Get],
) -> None:
    engine = Recorder()
    kinds = (httpx.TimeoutException, requests.Timeout, urllib3.exceptions.TimeoutError, TimeoutError)
    get = client(engine, Peers())
    with telling(("hold", None)) as (url, heads), use(timeout=0.5), pytest.raises(kinds):
        get(url)
    assert len(heads) == 1
    assert engine.calls[-1].outcome is Outcome.FAILURE
    assert engine.in_flight() == 0


@pytest.mark.parametrize("client", CLIENTS)
def test_what_would_come_too_late_is_not_sent(client: Callable[[Atrion, Peers], Get]) -> None:
    engine = Recorder()
    get = client(engine, Peers())
    with telling() as (url, heads), use(timeout=0.0), pytest.raises(FlowRejected) as shed:
        get(url)
    assert shed.value.decision.reason is Reason.DEADLINE
    assert heads == []
    assert engine.snapshot()[shed.value.decision.route].shed == 1


@pytest.mark.parametrize("after", ["30", "date", "999999", "soon", "-1"])
def test_retry_after_is_read_as_a_number_and_as_a_date(after: str) -> None:
    engine = Recorder()
    if after == "date":
        after = format_datetime(datetime.now(UTC) + timedelta(seconds=40), usegmt=True)
    with telling(("503 Busy", after)) as (url, _), httpx.Client(transport=AtrionTransport(engine)) as client:
        client.get(url)
        if after == "soon":
            assert engine.calls[-1].outcome is Outcome.FAILURE
        elif after == "-1":
            assert client.get(url).status_code == 200
        else:
            with pytest.raises(FlowRejected) as shed:
                client.get(url)
            assert 20.0 < shed.value.decision.retry_after <= 300.0


def test_clients_of_one_engine_share_what_a_dependency_asked_for() -> None:
    engine = Recorder()
    with telling(("429 Busy", "30")) as (url, heads):
        with httpx.Client(transport=AtrionTransport(engine, dependency="shop")) as client:
            client.get(url)
        with requests.Session() as session:
            session.trust_env = False
            for_requests.install(session, engine, dependency="shop")
            with pytest.raises(FlowRejected):
                session.get(url)
    assert len(heads) == 1


@pytest.mark.parametrize("client", CLIENTS)
def test_a_refusal_because_something_further_on_is_broken_is_a_failure(
    client: Callable[[Atrion, Peers], Get],
) -> None:
    outcomes = []
    for force in (force_open, partial(force_shed, "normal")):
        behind, engine = Recorder(), Recorder()

        def service(environ: dict[str, Any], start: Any, behind: Atrion = behind) -> Iterable[bytes]:
            with behind.flow("database"):  # it is shed, and the service answers as it was shed itself
                raise AssertionError

        guarded = WsgiMiddleware(service, Recorder())
        with served_by_threads(guarded) as it, force(engine=behind), suppress(Exception):
            client(engine, Peers())(f"http://127.0.0.1:{it.port}/")
        outcomes.append(engine.calls[-1].outcome)
    assert outcomes == [Outcome.FAILURE, Outcome.IGNORED]


def test_what_a_peer_refuses_tells_nothing_of_what_goes_before_it() -> None:
    engine, peers = Recorder(), Peers(networks=["127.0.0.0/8"], hosts=["127.0.0.1"])
    get = by_httpx(engine, peers)
    with telling(("503 Service Unavailable", "30")) as (url, heads):
        with use(tier="normal", place=0.5):
            get(url)
        with use(tier="normal", place=0.4), pytest.raises(FlowRejected) as shed:
            get(url)
        with use(tier="normal", place=0.6):
            get(url)
    assert 29.0 < shed.value.decision.retry_after <= 30.0
    assert len(heads) == 2


def test_every_attempt_of_urllib3_is_a_call() -> None:
    engine = Recorder()
    retries = urllib3.Retry(3, status_forcelist=[500], backoff_factor=0.0, respect_retry_after_header=False)
    answers = (("500 No", None), ("500 No", None))
    with telling(*answers) as (url, heads), AtrionPoolManager(engine, manager={"retries": retries}) as pool:
        assert pool.request("GET", url).status == 200
    assert len(heads) == 3
    assert [call.outcome for call in engine.calls] == [Outcome.FAILURE, Outcome.FAILURE, Outcome.SUCCESS]
    assert engine.in_flight() == 0


def test_a_key_that_raises_harms_no_call() -> None:
    engine = Recorder()

    def key() -> str:
        raise LookupError

    with telling() as (url, _), httpx.Client(transport=AtrionTransport(engine, key=key)) as client:
        assert client.get(url).status_code == 200


def test_a_deadline_is_sent_over_grpc_as_its_timeout_and_the_tier_as_baggage() -> None:
    told: list[tuple[dict[str, Any], float]] = []

    def get(request: bytes, context: Any) -> bytes:
        told.append((dict(context.invocation_metadata()), context.time_remaining()))
        return b"ok"

    from concurrent.futures import ThreadPoolExecutor

    server = grpc.server(ThreadPoolExecutor(2))
    handlers = {"Get": grpc.unary_unary_rpc_method_handler(get)}
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("shop.Items", handlers)])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    peers = Peers(hosts=["*"])

    async def call() -> None:
        interceptors = aio_interceptors(Recorder(), peers=peers)
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", interceptors=interceptors) as channel:
            await channel.unary_unary("/shop.Items/Get")(b"", metadata=(("baggage", "user=7"),))

    try:
        with use(tier="low", timeout=15.0):
            with grpc.insecure_channel(f"127.0.0.1:{port}") as plain:
                channel = grpc.intercept_channel(plain, ClientInterceptor(Recorder(), peers=peers))
                channel.unary_unary("/shop.Items/Get")(b"", metadata=(("baggage", "user=7"),))
            asyncio.run(call())
    finally:
        server.stop(1.0).wait(10.0)
    assert len(told) == 2
    for metadata, remaining in told:
        assert metadata["baggage"] == "user=7,atrion.tier=low"
        assert 0.0 < remaining <= 15.0


def test_a_statement_that_breaks_a_constraint_is_the_callers_fault() -> None:
    engine, database = Recorder(), create_engine("sqlite://")
    with database.begin() as connection:
        connection.execute(text("create table items (id integer primary key)"))
    for_sqlalchemy.install(database, engine, dependency="database")
    with database.begin() as connection:
        connection.execute(text("insert into items values (7)"))
    with pytest.raises(IntegrityError), database.begin() as connection:
        connection.execute(text("insert into items values (7)"))
    assert [call.outcome for call in engine.calls] == [Outcome.SUCCESS, Outcome.IGNORED]
    with force_shed("critical", engine=engine), pytest.raises(FlowRejected), database.connect() as connection:
        connection.execute(text("select 1"))
    eventually(lambda: engine.in_flight() == 0)
    database.dispose()


@pytest.mark.parametrize(
    "options",
    [{"dependency": ""}, {"tier": "urgent"}, {"key": 7}, {"exclude": "localhost"}],
    ids=str,
)
def test_an_unusable_option_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        AtrionTransport(Atrion(), **options)


def test_what_cannot_be_guarded_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="engine"):
        for_sqlalchemy.install("sqlite://", Atrion())  # type: ignore[arg-type]  # as untyped callers may
    with pytest.raises(ConfigurationError, match="client"):
        for_redis.install("redis://", Atrion())
    with pytest.raises(ConfigurationError, match="atrion"):
        AtrionTransport("atrion")  # type: ignore[arg-type]  # as untyped callers may
