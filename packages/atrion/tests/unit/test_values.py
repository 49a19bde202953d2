"""Public values and errors: they cross processes, compare equal, turn into plain data, and cannot be changed."""

from __future__ import annotations

import asyncio
import copy
import dataclasses
import inspect
import json
import pickle
import threading
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from celery import Celery
from fastapi import FastAPI

import atrion
from atrion import (
    SLO,
    AdaptiveBreak,
    Atrion,
    AtrionError,
    ConfigurationError,
    Decision,
    FlowRejected,
    LeaseCancelled,
    LeaseSnapshot,
    MissingExtraError,
    Mode,
    PhysicsConfig,
    PhysicsVector,
    Profile,
    ProviderError,
    Reason,
    RouteSnapshot,
    Telemetry,
    Transition,
)
from atrion.state import ClusterScar, Finding, NodeRow, Remembered
from atrion.testing import VirtualClock


def rejected() -> FlowRejected:
    engine = Atrion(clock=VirtualClock())
    engine.restore("shed", PhysicsVector(0.0, 0.0, 140.0, 0.0))
    with pytest.raises(FlowRejected) as caught, engine.flow("shed"):
        pass
    return caught.value


def state() -> RouteSnapshot:
    engine = Atrion(clock=VirtualClock())
    engine.restore("shed", PhysicsVector(0.0, 0.0, 140.0, 0.0))
    return engine.snapshot()["shed"]


def lease() -> LeaseSnapshot:
    engine = Atrion(clock=VirtualClock())
    with engine.lease("job", budget={"memory": 8e9}) as held:
        held.heartbeat(0.5, memory=2e9)
        return engine.leases()[0]


VECTOR = PhysicsVector(10.0, 0.5, 3.0, 1.0)
VALUES = [
    SLO(latency=0.5),
    AdaptiveBreak(window=7),
    PhysicsConfig(adaptive=AdaptiveBreak()),
    PhysicsConfig.reference(),
    VECTOR,
    Telemetry(latency=0.1, error_rate=0.5),
    Transition("r", Mode.OPERATIONAL, Mode.CIRCUIT_BREAKER, 240.0),
    rejected().decision,
    Atrion(clock=VirtualClock()).decide("r"),
    state(),
    lease(),
    Profile(name="nightly", duration=600.0),
    ClusterScar(5.0, 2.0),
    NodeRow(VECTOR, 2.0, 0.8),
    Remembered(VECTOR, 3.0),
    Finding("a check", "good", "all is well"),
]
ERRORS = [
    AtrionError("text"),
    ConfigurationError("tier", "urgent", "use one of bulk, low"),
    ConfigurationError("key", lambda: 1, "give a text"),
    ConfigurationError("lock", threading.Lock(), "give a text"),
    MissingExtraError("atrion lab", "lab"),
    ProviderError("the store is away"),
    LeaseCancelled("job", "budget", "memory", 9e9, 8e9),
    LeaseCancelled("job", "culprit"),
    rejected(),
]


def named(thing: object) -> str:
    return type(thing).__name__


WAYS: dict[str, Callable[[Any], Any]] = {
    **{
        f"pickle {protocol}": lambda thing, protocol=protocol: pickle.loads(pickle.dumps(thing, protocol))
        for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1)
    },
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("value", VALUES, ids=named)
def test_a_copy_of_a_value_is_equal(value: Any, way: str) -> None:
    copied = WAYS[way](value)
    assert type(copied) is type(value)
    assert copied == value
    assert hash(copied) == hash(value)
    assert repr(copied) == repr(value)
    assert value != "something else"


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("error", ERRORS, ids=named)
def test_a_copy_of_an_error_says_the_same(error: AtrionError, way: str) -> None:
    copied = WAYS[way](error)
    assert type(copied) is type(error)
    assert str(copied) == str(error)
    assert copied.as_dict() == error.as_dict()
    if not (isinstance(error, ConfigurationError) and error.field in {"key", "lock"}):
        assert copied == error
        assert hash(copied) == hash(error)
    if isinstance(error, FlowRejected):
        assert copied.decision == error.decision
        assert copied.decision.retry_after > 0.0


def test_different_values_differ() -> None:
    assert rejected().decision != Atrion(clock=VirtualClock()).decide("r")
    assert Telemetry(latency=0.1) != Telemetry(latency=0.2)
    assert ProviderError("a") != ProviderError("b")
    assert AtrionError("a") != ProviderError("a")
    assert len({Telemetry(latency=0.1), Telemetry(latency=0.1), Telemetry()}) == 2


@pytest.mark.parametrize("thing", [*VALUES, *ERRORS], ids=named)
def test_plain_data_is_json(thing: Any) -> None:
    data = thing.as_dict()
    assert json.loads(json.dumps(data)) == data
    if dataclasses.is_dataclass(thing):
        assert set(data) == {field.name for field in dataclasses.fields(thing)}


def test_plain_data_names_modes_and_reasons_and_leads_back() -> None:
    decision = rejected().decision
    data = decision.as_dict()
    assert (data["mode"], data["reason"]) == ("operational", "resistance")
    assert Decision.from_dict(json.loads(json.dumps(data))) == decision
    assert state().as_dict()["mode"] == "operational"
    assert PhysicsConfig(adaptive=AdaptiveBreak(window=7)).as_dict()["adaptive"]["window"] == 7
    with pytest.raises(KeyError):
        Decision.from_dict({**data, "mode": "asleep"})
    with pytest.raises(ValueError, match="tired"):
        Decision.from_dict({**data, "reason": "tired"})


@pytest.mark.parametrize("value", VALUES, ids=named)
def test_no_field_can_be_changed(value: Any) -> None:
    fields = [name for name in dir(value) if not name.startswith("_") and not callable(getattr(value, name))]
    assert fields
    before = value.as_dict()
    for name in fields:
        with pytest.raises(AttributeError):
            setattr(value, name, getattr(value, name))
        with pytest.raises(AttributeError):
            delattr(value, name)
    assert value.as_dict() == before


def test_every_public_value_is_tried_here() -> None:
    tried = {type(thing) for thing in (*VALUES, *ERRORS)}
    for name in atrion.__all__:
        thing = getattr(atrion, name)
        if inspect.isclass(thing) and (dataclasses.is_dataclass(thing) or issubclass(thing, AtrionError)):
            assert thing in tried


# --- for others ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("serializer", ["json", "pickle"])
def test_a_rejection_leaves_a_celery_task_with_its_decision(serializer: str) -> None:
    app = Celery(broker="memory://", backend="cache+memory://", result_serializer=serializer)
    app.conf.accept_content = app.conf.result_accept_content = [serializer]
    app.backend.mark_as_failure(serializer, rejected())
    with pytest.raises(FlowRejected) as caught:
        app.AsyncResult(serializer).get(timeout=5.0)
    assert caught.value.decision == rejected().decision
    assert str(caught.value) == str(rejected())


def test_fastapi_serialises_a_snapshot_as_it_is() -> None:
    engine = Atrion(clock=VirtualClock())
    engine.restore("r", PhysicsVector(0.0, 0.0, 140.0, 0.0))
    app = FastAPI()

    @app.get("/untyped")
    async def untyped():  # type: ignore[no-untyped-def]  # as many write it
        return engine.snapshot()

    @app.get("/typed")
    async def typed() -> dict[str, RouteSnapshot]:
        return engine.snapshot()

    async def ask(path: str) -> Any:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x") as client:
            return (await client.get(path)).raise_for_status().json()

    for path in ("/untyped", "/typed"):
        said = asyncio.run(ask(path))["r"]
        assert said == json.loads(json.dumps(dataclasses.asdict(engine.snapshot()["r"])))
        assert said["reason"] == Reason.RESISTANCE
