"""Retries wait as they are asked to, and a destination's are bounded for the whole process."""

from __future__ import annotations

import asyncio
from itertools import count
from typing import Any

import httpx
import pytest
import stamina
import tenacity

from atrion import ConfigurationError, FlowRejected
from atrion.integrations import stamina as for_stamina
from atrion.integrations.httpx import AtrionTransport
from atrion.integrations.tenacity import RetryBudget, budget, policy
from atrion.integrations.wsgi import AtrionMiddleware
from atrion.propagation import Peers, current, use
from atrion.testing import VirtualClock, force_shed
from packages.atrion.tests.conformance.http_clients import http_upstream
from packages.atrion.tests.conformance.serving import served_by_threads
from packages.atrion.tests.conformance.subject import Recorder

_names = count()


@pytest.fixture
def destination() -> str:
    """One that no other test uses."""
    return f"destination-{next(_names)}"


def test_a_tenth_of_the_requests_and_three_a_second_may_be_tried_again() -> None:
    clock = VirtualClock()
    mine = RetryBudget(clock.monotonic)
    while mine.withdraw():
        pass
    clock.advance(1.0)
    assert sum(mine.withdraw() for _ in range(10)) == 3
    for _ in range(100):
        mine.request()
    assert sum(mine.withdraw() for _ in range(20)) == 10
    clock.advance(3600.0)
    assert sum(mine.withdraw() for _ in range(100)) == 30


def test_all_retries_of_a_destination_share_a_budget(destination: str) -> None:
    attempts = 0

    @tenacity.retry(**policy(destination, attempts=5), sleep=lambda seconds: None)
    def fail() -> None:
        nonlocal attempts
        attempts += 1
        raise ConnectionError

    for _ in range(50):
        with pytest.raises(ConnectionError):
            fail()
    assert 50 <= attempts <= 50 + 3 + 5
    assert budget(destination) is budget(destination)
    assert not budget(destination).withdraw()


def test_guarded_requests_fill_the_budget_of_their_dependency(destination: str) -> None:
    shared = budget(destination)
    while shared.withdraw():
        pass
    engine = Recorder()
    transport = AtrionTransport(engine, dependency=destination)
    with http_upstream() as upstream, httpx.Client(transport=transport) as client:
        for _ in range(20):
            client.get(f"http://127.0.0.1:{upstream.port}/item")
    assert shared.withdraw()
    assert shared.withdraw()


def test_tenacity_waits_as_long_as_a_service_asks(destination: str) -> None:
    waited: list[float] = []

    @tenacity.retry(**policy(destination, attempts=2), sleep=waited.append)
    def call(url: str) -> None:
        httpx.get(url, trust_env=False).raise_for_status()

    with http_upstream() as upstream:
        url = f"http://127.0.0.1:{upstream.port}"
        with pytest.raises(httpx.HTTPStatusError):
            call(f"{url}/busy")
        with pytest.raises(httpx.HTTPStatusError):
            call(f"{url}/missing")
        assert upstream.seen == ["/busy", "/busy", "/missing"]
    assert len(waited) == 1
    assert waited[0] >= 30.0


def test_a_rejection_is_tried_again_after_its_time(destination: str) -> None:
    engine, waited = Recorder(), list[float]()

    @tenacity.retry(**policy(destination, attempts=2), sleep=waited.append)
    def call() -> None:
        with engine.flow("payments"):
            pass

    with force_shed("critical", engine=engine), pytest.raises(FlowRejected) as shed:
        call()
    assert waited[0] >= shed.value.decision.retry_after


def test_what_cannot_be_answered_before_the_deadline_is_not_tried_again(destination: str) -> None:
    attempts = 0

    @tenacity.retry(**policy(destination), sleep=lambda seconds: None)
    def fail() -> None:
        nonlocal attempts
        attempts += 1
        raise ConnectionError

    with use(timeout=0.0), pytest.raises(ConnectionError):
        fail()
    assert attempts == 1


def test_stamina_tries_failures_again_within_the_budget_and_nothing_else(destination: str) -> None:
    seen: list[str] = []

    @stamina.retry(on=for_stamina.on(destination), attempts=3, wait_initial=0.0, wait_jitter=0.0)
    def fail(error: Exception) -> None:
        seen.append(type(error).__name__)
        raise error

    with pytest.raises(ConnectionError):
        fail(ConnectionError())
    assert len(seen) == 3
    request = httpx.Request("GET", "http://x")
    with pytest.raises(httpx.HTTPStatusError):
        fail(httpx.HTTPStatusError("no", request=request, response=httpx.Response(404)))
    assert len(seen) == 4
    while budget(destination).withdraw():
        pass
    with pytest.raises(ConnectionError):
        fail(ConnectionError())
    assert len(seen) == 5


@pytest.mark.parametrize("unusable", [{"destination": ""}, {"destination": "x", "attempts": 0}], ids=str)
def test_an_unusable_policy_is_refused(unusable: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError):
        policy(**unusable)  # type: ignore[arg-type]  # it is wrong on purpose


def test_a_retry_of_tenacity_has_its_number_in_the_context(destination: str) -> None:
    seen: list[int] = []

    @tenacity.retry(**policy(destination), sleep=lambda seconds: None)
    def call() -> int:
        seen.append(current().attempt)
        if len(seen) < 3:
            raise ConnectionError
        return len(seen)

    assert call() == 3
    assert seen == [0, 1, 2]
    assert current().attempt == 0


def test_a_retry_of_stamina_has_its_number_in_the_context(destination: str) -> None:
    seen: list[int] = []

    @for_stamina.retry(destination, attempts=3, wait_initial=0.0, wait_jitter=0.0)
    def call() -> None:
        seen.append(current().attempt)
        raise ConnectionError

    @for_stamina.retry(f"{destination}, async", attempts=3, wait_initial=0.0, wait_jitter=0.0)
    async def called() -> int:
        seen.append(current().attempt)
        if len(seen) < 2:
            raise ConnectionError
        return len(seen)

    with pytest.raises(ConnectionError):
        call()
    assert seen == [0, 1, 2]
    seen.clear()
    assert asyncio.run(called()) == 2
    assert seen == [0, 1]
    assert current().attempt == 0


def test_nothing_is_tried_again_within_a_retry(destination: str) -> None:
    seen: list[int] = []

    @tenacity.retry(**policy(destination), sleep=lambda seconds: None)
    def call() -> None:
        seen.append(current().attempt)
        raise ConnectionError

    with use(attempt=1), pytest.raises(ConnectionError):
        call()
    assert seen == [1]


def test_a_client_sends_the_attempt_on_and_a_server_reads_it(destination: str) -> None:
    heard: list[int] = []

    def app(environ: dict[str, object], start: Any) -> list[bytes]:
        heard.append(current().attempt)
        start("503 Service Unavailable" if len(heard) < 2 else "200 OK", [])
        return [b""]

    peers = Peers(networks=["127.0.0.0/8"], hosts=["127.0.0.1"])
    transport = AtrionTransport(Recorder(), dependency=destination, peers=peers)

    @for_stamina.retry(destination, attempts=3, wait_initial=0.0, wait_jitter=0.0)
    def call(client: httpx.Client, port: int) -> None:
        client.get(f"http://127.0.0.1:{port}/").raise_for_status()

    guarded = AtrionMiddleware(app, Recorder(), peers=peers)
    with served_by_threads(guarded) as service, httpx.Client(transport=transport) as client:
        call(client, service.port)
    assert heard == [0, 1]
