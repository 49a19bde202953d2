"""Typed usage: checked by mypy and never run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import assert_type

import httpx
from anthropic import AsyncAnthropic
from fastapi import FastAPI
from flask import Flask
from openai import OpenAI

from atrion import (
    SLO,
    AdaptiveBreak,
    Atrion,
    Call,
    Decision,
    FlowRejected,
    InMemoryProvider,
    Lease,
    LeaseCancelled,
    LeaseSnapshot,
    Mode,
    PhysicsConfig,
    PhysicsVector,
    Profile,
    Reason,
    RouteSnapshot,
    StateProvider,
    Swarm,
    Telemetry,
    Tier,
)
from atrion.integrations.fastapi import install as install_fastapi
from atrion.integrations.flask import install as install_flask
from atrion.integrations.flask import tier
from atrion.integrations.httpx import AtrionTransport
from atrion.integrations.llm import Cost, guard
from atrion.propagation import Peers, RequestContext, use
from atrion.state import Clock, ClusterSync
from atrion.testing import VirtualClock

provider: StateProvider = InMemoryProvider()
exchanging: ClusterSync = InMemoryProvider()
clock: Clock = VirtualClock()
engine = Atrion(
    provider,
    config=PhysicsConfig(adaptive=AdaptiveBreak(window=50)),
    slo=SLO(latency=0.5),
    gamma=0.5,
    node="a",
    clock=clock,
)


@engine.protect("sync", tier="high")
def add(a: int, b: int = 2) -> int:
    return a + b


@engine.protect("async", tier=Tier.BULK)
async def fetch(name: str) -> bytes:
    return name.encode()


@engine.protect
def named_by_itself(a: int) -> str:
    return str(a)


@engine.protect(tier="low")
def rows(count: int) -> Iterator[int]:
    yield count


class Card:
    user: str
    limit: int


@engine.protect(
    "payments",
    tier="critical",
    key=lambda card, amount: card.user,
    ignore=(ValueError, KeyError),
    failure=lambda result: result < 0,
    fallback=lambda card, amount: 0,
)
def charge(card: Card, amount: int) -> int:
    return amount


async def cached(name: str) -> bytes:
    return b""


@engine.protect("reports", key=lambda name: name, ignore=ValueError, fallback=cached)
async def report(name: str) -> bytes:
    return await fetch(name)


@engine.protect("gpt", cost=lambda prompt: len(prompt) / 4)
def complete(prompt: str) -> str:
    return prompt


assert_type(complete("a"), str)
assert_type(charge(Card(), amount=1), int)
charge("4242", 1)  # type: ignore[arg-type]
engine.protect("payments", tier="crit")  # type: ignore[call-overload]
engine.protect("payments", ignore=ValueError())  # type: ignore[call-overload]
engine.protect("payments", cost=5.0)  # type: ignore[call-overload]
engine.protect("payments", fallback="cached")  # type: ignore[call-overload]
engine.decide("payments", "crit")  # type: ignore[arg-type]
engine.flow("payments", tier="crit")  # type: ignore[arg-type]
engine.decide(42)  # type: ignore[arg-type]
assert_type(named_by_itself(1), str)
assert_type(rows(1), Iterator[int])
named_by_itself("1")  # type: ignore[arg-type]
assert_type(add(1, b=3), int)
add("1")  # type: ignore[arg-type]
assert_type(engine.decide("r", Tier.LOW, key="alice"), Decision)
assert_type(engine.decide("r").reason, Reason)
assert_type(engine.snapshot()["r"].reason, Reason | None)
assert_type(engine.decide("r").mode, Mode)
assert_type(engine.update_physics("r", Telemetry(latency=0.1)), RouteSnapshot)
assert_type(engine.route("r", Telemetry(), 60.0), Decision)
assert_type(engine.select(["a", "b"], beta=0.2), str)
assert_type(engine.snapshot(), dict[str, RouteSnapshot])
engine.restore("r", PhysicsVector(10.0, 0.0, 5.0, 0.0))
engine.configure("r", slo=SLO(error_rate=0.3), gamma=0.0, shared=False)


class Counts:
    def on_decision(self, decision: Decision) -> None: ...


engine.observe(Counts())
engine.observe(object())  # type: ignore[arg-type]
engine.configure("GET /reports/*", tier="low", enforce=False)
engine.configure("r", tier="crit")  # type: ignore[arg-type]
assert_type(engine.unused(), tuple[str, ...])
assert_type(engine.decide("r").would_shed, bool)
assert_type(Atrion.from_config("pyproject.toml"), Atrion)
Atrion.from_config({"gamma": 0.3})
Atrion(enforce=False)
engine.configure("r", slo=0.3)  # type: ignore[arg-type]


def guarded() -> float:
    try:
        with engine.flow("r") as flow:
            assert_type(flow, Call)
            flow.fail()
    except FlowRejected as rejection:
        assert_type(rejection.decision, Decision)
        return rejection.decision.retry_after
    return 0.0


async def guarded_async() -> bytes:
    async with engine as entered, entered.flow("r", "critical", key="alice"):
        assert_type(entered, Atrion)
        assert_type(await report("x"), bytes)
        return await fetch("x")


# --- integrations --------------------------------------------------------------------------------------------

assert_type(engine.flow("r", place=0.5), Call)
assert_type(engine.flow("r", cost=32_000), Call)
assert_type(engine.decide("r", cost=1.5), Decision)
engine.flow("r").report(cost=1234)
engine.flow("r", cost="32k")  # type: ignore[arg-type]
engine.flow("r").report(1234)  # type: ignore[call-arg]
assert_type(engine.place("r", "alice"), float)
peers = Peers(networks=["10.0.0.0/8"], hosts=["payments"])
httpx.Client(transport=AtrionTransport(engine, dependency="payments", tier="high", peers=peers))
AtrionTransport(engine, dependency=1)  # type: ignore[arg-type]
assert_type(guard(OpenAI(), engine, cost=lambda body: Cost(len(body), 1.0), dependency="gpt"), OpenAI)
assert_type(guard(AsyncAnthropic(), engine, http={"verify": False}), AsyncAnthropic)
guard(OpenAI(), engine, cost="32k")  # type: ignore[arg-type]
install_flask(
    Flask("shop"), engine, tiers={"/pay": "critical"}, key=lambda environ: environ.get("HTTP_X_USER")
)
install_flask(Flask("shop"), engine, tyres={})  # type: ignore[call-arg]
install_fastapi(FastAPI(), engine, exclude=["/health"])


@tier("critical")
def pay(order: int) -> str:
    return str(order)


assert_type(pay(7), str)
with use(tier="low", timeout=1.0) as context:
    assert_type(context, RequestContext)
    assert_type(context.remaining(), float | None)


async def sequence() -> None:
    engine.configure("genome/*", profile="heavy")
    engine.configure("nightly", profile=Profile(name="nightly", duration=600.0, heartbeat=60.0))
    try:
        async with engine.lease("genome/sequence", "low", budget={"seconds": 3600, "memory": 8e9}) as lease:
            assert_type(lease, Lease)
            lease.heartbeat(progress=0.5, memory=2e9)
            lease.spend(tokens=5)
            with lease.holding():
                assert_type(lease.should_stop, bool)
            await lease.wait_until_asked()
    except LeaseCancelled as error:
        assert_type(error.resource, str)
    with engine.lease("report", profile=Profile(grace=1.0), interruptible=True) as plain:
        assert_type(plain, Lease)
        assert_type(plain.used, dict[str, float])
        plain.check()
    assert_type(engine.leases(), tuple[LeaseSnapshot, ...])
    async with engine.swarm("agents", budget={"tokens": 1e6, "members": 8}) as swarm:
        assert_type(swarm, Swarm)
        async with swarm.member(tier="low", key="user-7") as member:
            assert_type(member, Lease)
            swarm.spend(tokens=3)
            assert_type(swarm.left("tokens"), float)
