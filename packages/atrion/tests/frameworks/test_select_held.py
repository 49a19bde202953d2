"""A dependency that asked to be left alone is not offered by a router before that time is over."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import httpx
import pytest

from atrion import Atrion, FlowRejected, Tier
from atrion.integrations.httpx import AtrionTransport
from atrion.propagation import use
from atrion.testing import VirtualClock
from packages.atrion.tests.conformance.http_clients import http_upstream

MODELS = ["a", "b", "c"]
HELD = 30.0
"""Seconds that ``/busy`` asks for."""

Send = Callable[[str, str], int]


@pytest.fixture
def send(engine: Atrion) -> Iterator[Send]:
    """Requests a path of a model; returns the status."""
    with ExitStack() as stack:
        upstream = stack.enter_context(http_upstream())
        clients = {
            model: stack.enter_context(httpx.Client(transport=AtrionTransport(engine, dependency=model)))
            for model in MODELS
        }
        yield lambda model, path: clients[model].get(f"http://127.0.0.1:{upstream.port}/{path}").status_code


def routed(engine: Atrion, clock: VirtualClock, send: Send, seconds: float) -> Counter[str]:
    """Five requests a second, each to the model that is chosen; which model served how many."""
    served: Counter[str] = Counter()
    for _ in range(round(5.0 * seconds)):
        clock.advance(0.2)
        model = engine.select(MODELS)
        served[model] += 1
        assert send(model, "item") == 200
    return served


def test_a_held_route_is_not_offered_before_the_hold_ends_and_is_back_afterwards(
    engine: Atrion, clock: VirtualClock, send: Send
) -> None:
    assert set(routed(engine, clock, send, 2.0)) == set(MODELS)
    assert send("a", "busy") == 429
    assert set(routed(engine, clock, send, HELD - 1.0)) == {"b", "c"}
    assert engine.snapshot()["a"].resistance > 60.0
    clock.advance(1.0)
    assert engine.snapshot()["a"].resistance < 20.0
    back = routed(engine, clock, send, 6.0)
    assert back["a"] / back.total() == pytest.approx(1 / 3, abs=0.07)


def test_where_all_are_held_the_first_to_come_back_is_offered(
    engine: Atrion, clock: VirtualClock, send: Send
) -> None:
    for model in ("b", "a", "c"):
        assert send(model, "busy") == 429
        clock.advance(5.0)
    assert {engine.select(MODELS) for _ in range(50)} == {"b"}
    with pytest.raises(FlowRejected) as shed:
        send("b", "item")
    assert shed.value.decision.retry_after == pytest.approx(HELD - 15.0)
    with use(tier=Tier.CRITICAL):
        assert send(engine.select(MODELS), "item") == 200


def test_a_held_route_is_offered_where_the_others_are_broken(
    engine: Atrion, clock: VirtualClock, send: Send
) -> None:
    for _ in range(40):
        clock.advance(0.1)
        for model in ("b", "c"):
            try:
                send(model, "broken")
            except FlowRejected:
                pass
    assert send("a", "busy") == 429
    chosen = Counter(engine.select(MODELS) for _ in range(20))
    assert chosen["a"] >= 16  # the broken ones are probed
