"""The cases: what is measured, by which method of a guard, against which bare call, and in which group."""

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks import requests
from benchmarks.guards import ROUTE, Guard, nothing_named, work, work_async, work_named
from benchmarks.measure import (
    BARE,
    Batch,
    NamedCall,
    Subject,
    Void,
    async_batch,
    async_refused_batch,
    bare_async_tried_batch,
    bare_tried_batch,
    long_batch,
    named_batch,
    refused_batch,
    rested_batch,
    said,
    sync_batch,
)

MANY = 10_000
"""Routes of the cases that must be as fast with many routes as with one."""
EXPORTED = 1_000
"""Routes of a scrape."""

Build = Callable[[Guard, asyncio.Runner], Batch | None]


@dataclass(frozen=True, slots=True)
class Case:
    """A line of the report for each library; the cases of one group are measured in turns with each other."""

    name: str
    group: str
    meaning: str
    bare: Callable[[asyncio.Runner], Batch]
    build: Build
    fewest_calls: int = 50
    paired: bool = False
    """The batches of guards measure the bare call beside their own, and return what the guard adds."""


def _shuffled_names() -> list[str]:
    """Routes in an order in which their names do not lie in memory: nor does traffic walk through it."""
    names = [f"{ROUTE}/{number:05d}" for number in range(MANY)]
    random.Random(MANY).shuffle(names)
    return names


ONE_NAME = [ROUTE] * (MANY // 10)
MANY_NAMES = _shuffled_names()


def _sync_ok(guard: Guard, runner: asyncio.Runner) -> Batch | None:
    call = guard.sync_ok()
    return sync_batch(call) if call else None


def _watched(guard: Guard, runner: asyncio.Runner) -> Batch | None:
    call = guard.watched()
    return sync_batch(call) if call else None


def _export(guard: Guard, runner: asyncio.Runner) -> Batch | None:
    call = guard.export(MANY_NAMES[:EXPORTED])
    return long_batch(call) if call else None


def _sync_refused(guard: Guard, runner: asyncio.Runner) -> Batch | None:
    refusing = guard.sync_refusing()
    return refused_batch(refusing) if refusing else None


def _async_ok(guard: Guard, runner: asyncio.Runner) -> Batch | None:
    call = guard.async_ok()
    return async_batch(runner, call) if call else None


def _async_refused(guard: Guard, runner: asyncio.Runner) -> Batch | None:
    refusing = guard.async_refusing()
    return async_refused_batch(runner, refusing) if refusing else None


def _decide(guard: Guard, runner: asyncio.Runner) -> Batch | None:
    call = guard.decide()
    return sync_batch(call) if call else None


def _decide_for_key(guard: Guard, runner: asyncio.Runner) -> Batch | None:
    call = guard.decide_for_key()
    return sync_batch(call) if call else None


def _update(guard: Guard, runner: asyncio.Runner) -> Batch | None:
    call = guard.update()
    return sync_batch(call) if call else None


def _guarded_named(names: list[str]) -> Build:
    return lambda guard, runner: _over(names, guard.by_name(), named_batch)


def _guarded_rested(names: list[str]) -> Build:
    return lambda guard, runner: _over(names, guard.by_name(), rested_batch)


def _decide_named(names: list[str]) -> Build:
    return lambda guard, runner: _over(names, guard.decide_by_name(), named_batch)


def _pulse(guard: Guard, runner: asyncio.Runner) -> Batch | None:
    call = guard.pulse(MANY_NAMES)
    return async_batch(runner, call) if call else None


def _leases(guard: Guard, runner: asyncio.Runner) -> Batch | None:
    call = guard.leases(MANY)
    return long_batch(call) if call else None


def _request(guard: Guard, runner: asyncio.Runner) -> Batch | None:
    app = guard.asgi()
    return requests.paired_batch(runner, app) if app else None


def _over(
    names: list[str], call: NamedCall | None, batch: Callable[[NamedCall, list[str]], Batch]
) -> Batch | None:
    return None if call is None else batch(call, names)


def _nothing() -> None:
    """The bare call of a question: a call that asks none."""


CASES: tuple[Case, ...] = (
    Case(
        "guarded-sync-ok",
        "sync-ok",
        "a guarded function that succeeds",
        lambda runner: sync_batch(work),
        _sync_ok,
    ),
    Case(
        "guarded-sync-watched",
        "sync-ok",
        "the same, with metrics for Prometheus and OpenTelemetry, and a dashboard that watches",
        lambda runner: sync_batch(work),
        _watched,
    ),
    Case(
        "guarded-sync-rejected",
        "sync-rejected",
        "the guard refuses: raise and except included",
        lambda runner: bare_tried_batch(work),
        _sync_refused,
    ),
    Case(
        "guarded-async-ok",
        "async-ok",
        "a guarded coroutine that succeeds",
        lambda runner: async_batch(runner, work_async),
        _async_ok,
    ),
    Case(
        "guarded-async-rejected",
        "async-rejected",
        "the guard refuses a coroutine: raise and except included",
        lambda runner: bare_async_tried_batch(runner, work_async),
        _async_refused,
    ),
    Case(
        "decide",
        "questions",
        "may this call go? asked without a call, answered as a value",
        lambda runner: sync_batch(_nothing),
        _decide,
    ),
    Case(
        "decide-key",
        "questions",
        "the same for one caller's key",
        lambda runner: sync_batch(_nothing),
        _decide_for_key,
    ),
    Case(
        "update-physics",
        "questions",
        "one observation from outside fed into a route's model",
        lambda runner: sync_batch(_nothing),
        _update,
    ),
    Case(
        "guarded-sync-1-route",
        "routes",
        "a guarded call on a route named at call time, always the same",
        lambda runner: named_batch(work_named, ONE_NAME),
        _guarded_named(ONE_NAME),
    ),
    Case(
        "guarded-sync-10000-routes",
        "routes",
        "the same, over 10,000 routes in turn",
        lambda runner: named_batch(work_named, MANY_NAMES),
        _guarded_named(MANY_NAMES),
        fewest_calls=MANY,
    ),
    Case(
        "guarded-sync-10000-rested",
        "routes",
        "the same, each route after a pause of 0.15 s or more",
        lambda runner: rested_batch(work_named, MANY_NAMES),
        _guarded_rested(MANY_NAMES),
        fewest_calls=MANY,
    ),
    Case(
        "decide-1-route",
        "routes",
        "the question for a route named at call time, always the same",
        lambda runner: named_batch(nothing_named, ONE_NAME),
        _decide_named(ONE_NAME),
    ),
    Case(
        "decide-10000-routes",
        "routes",
        "the same, over 10,000 routes in turn",
        lambda runner: named_batch(nothing_named, MANY_NAMES),
        _decide_named(MANY_NAMES),
        fewest_calls=MANY,
    ),
    Case(
        "pulse-10000-idle",
        "pulse",
        "sharing state once, beside the calls, where 10,000 routes are idle",
        lambda runner: async_batch(runner, work_async),
        _pulse,
    ),
    Case(
        "leases-10000-second",
        "leases",
        "a second of 10,000 held leases, each with a heartbeat in ten seconds: CPU time, of a second",
        lambda runner: sync_batch(_nothing),
        _leases,
        fewest_calls=1,
    ),
    Case(
        "export-1000-routes",
        "export",
        "a scrape of Prometheus for 1,000 routes with series of their own: CPU time",
        lambda runner: sync_batch(_nothing),
        _export,
        fewest_calls=1,
    ),
    Case(
        "asgi-request-200-routes",
        "asgi",
        "a request to a FastAPI application of 200 routes in nested routers, in process",
        requests.bare_batch,
        _request,
        fewest_calls=requests.ROUTES,
        paired=True,
    ),
)

MEMORY_CASE = "memory-per-route"

FLATNESS: dict[str, tuple[str, str]] = {
    "guarded-sync-flatness": ("guarded-sync-1-route", "guarded-sync-10000-routes"),
    "decide-flatness": ("decide-1-route", "decide-10000-routes"),
}
"""Derived cases: how much slower 10,000 routes are than one."""

MEANINGS: dict[str, str] = {case.name: case.meaning for case in CASES} | {
    MEMORY_CASE: "state of one route or breaker that has seen a call, at 100,000 of them",
    "guarded-sync-flatness": "guarded-sync-10000-routes over guarded-sync-1-route",
    "decide-flatness": "decide-10000-routes over decide-1-route",
}


def subjects_of(case: Case, guards: Sequence[Guard], runner: asyncio.Runner) -> list[Subject]:
    """The bare call and every library that has the mode which the case measures; nothing where none has."""
    subjects: list[Subject] = []
    for guard in guards:
        try:
            batch = case.build(guard, runner)
        except Exception as error:  # a library whose API has changed must not cost the others their numbers
            subjects.append(Subject(case.name, guard.name, _unmeasurable, trouble=said(error)))
            continue
        if batch is not None:
            subjects.append(Subject(case.name, guard.name, batch, case.fewest_calls, paired=case.paired))
    return [Subject(case.name, BARE, case.bare(runner), case.fewest_calls), *subjects] if subjects else []


def _unmeasurable(calls: int) -> float:
    raise Void("it could not be set up")
