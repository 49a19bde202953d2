"""Requests of a FastAPI application of 200 routes, given to it in process as a server gives them, without sockets."""

import asyncio
import itertools
import random
import statistics
from collections.abc import Awaitable, Callable, Iterator, MutableMapping, Sequence
from functools import cache
from time import thread_time_ns
from typing import Any

from benchmarks.measure import Batch, Void

Message = MutableMapping[str, Any]
App = Callable[
    [Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]
]
Endpoint = Callable[..., Any]

ROUTES = 200
_RESOURCES = ROUTES // 5
_TURN = 10
"""Requests of one turn."""
_NUMBERS = itertools.count(1)


def application(limited: Callable[[Endpoint], Endpoint] = lambda endpoint: endpoint) -> Any:
    """200 routes in routers that are included in routers; ``limited`` decorates each endpoint."""
    from fastapi import APIRouter, FastAPI, Request  # not at the top: the other cases do without

    app, api = FastAPI(), APIRouter(prefix="/api/v1")
    for number in range(_RESOURCES):
        resource, parts = APIRouter(prefix=f"/resource{number:02d}"), APIRouter(prefix="/{item}/parts")

        async def everything(request: Request) -> dict[str, int]:
            return {"items": 1}

        async def add(request: Request) -> dict[str, int]:
            return {"items": 2}

        async def one(request: Request, item: int) -> dict[str, int]:
            return {"item": item}

        async def some(request: Request, item: int) -> dict[str, int]:
            return {"item": item}

        async def part(request: Request, item: int, part: str) -> dict[str, int | str]:
            return {"item": item, "part": part}

        endpoints: list[tuple[Callable[[Endpoint], Endpoint], Endpoint]] = [
            (resource.get(""), everything),
            (resource.post(""), add),
            (resource.get("/{item}"), one),
            (parts.get(""), some),
            (parts.get("/{part}"), part),
        ]
        for route, endpoint in endpoints:
            endpoint.__name__ += f"_{number}"  # slowapi knows endpoints by their names
            route(limited(endpoint))
        resource.include_router(parts)
        api.include_router(resource)
    app.include_router(api)
    return app


@cache
def shared_application() -> Any:
    """One such application for the bare request and every middleware: two that are alike differ by their memory."""
    return application()


def bare_batch(runner: asyncio.Runner) -> Batch:
    """Whole walks over the routes of the bare application."""

    async def timed(calls: int) -> float:
        requests = [request for _ in range(max(calls // ROUTES, 1)) for request in _walk()]
        return await _timed(shared_application(), requests) / len(requests)

    return lambda calls: runner.run(timed(calls))


def paired_batch(runner: asyncio.Runner, app: App) -> Batch:
    """What a request to ``app`` takes longer than one to the bare application: the median of many short turns.

    A request takes many times what a middleware adds, and a machine's speed changes by more than that from one second
    to the next. So both have the same requests in turns of a few milliseconds.
    """

    async def timed(calls: int) -> float:
        added = []
        for _ in range(max(calls // ROUTES, 1)):
            for number, requests in enumerate(zip(*[_walk()] * _TURN, strict=True)):
                if number % 2:
                    bare = await _timed(shared_application(), requests)
                    guarded = await _timed(app, requests)
                else:
                    guarded = await _timed(app, requests)
                    bare = await _timed(shared_application(), requests)
                added.append((guarded - bare) / _TURN)
        return statistics.median(added)

    return lambda calls: runner.run(timed(calls))


async def _timed(app: App, requests: Sequence[tuple[str, str]]) -> int:
    """Nanoseconds of the thread for all these requests, one after the other; it waits for nothing but its turn."""
    scopes = [_scope(method, path) for method, path in requests]
    answers = _Answers()
    start = thread_time_ns()
    for scope in scopes:
        await app(scope, _receive, answers.take)
        await asyncio.sleep(0)  # a loop that did not come round between requests would be a blocked one
    elapsed = thread_time_ns() - start
    answers.expect(len(scopes))
    return elapsed


class _Answers:
    def __init__(self) -> None:
        self._good = 0
        self._other = 0

    async def take(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            if message["status"] == 200:
                self._good += 1
            else:
                self._other = message["status"]

    def expect(self, count: int) -> None:
        if self._good != count:
            raise Void(f"{self._good} of {count} requests were answered 200, another {self._other}")


def _walk() -> Iterator[tuple[str, str]]:
    walk = [(number, kind) for number in range(_RESOURCES) for kind in range(5)]
    random.Random(ROUTES).shuffle(walk)
    for number, kind in walk:
        path, item = f"/api/v1/resource{number:02d}", next(_NUMBERS)
        yield [
            ("GET", path),
            ("POST", path),
            ("GET", f"{path}/{item}"),
            ("GET", f"{path}/{item}/parts"),
            ("GET", f"{path}/{item}/parts/p{item}"),
        ][kind]


def _scope(method: str, path: str) -> Message:
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "server": ("127.0.0.1", 8000),
        "client": ("127.0.0.1", 40000),
        "scheme": "http",
        "method": method,
        "root_path": "",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(b"host", b"127.0.0.1:8000"), (b"accept", b"*/*"), (b"user-agent", b"benchmarks")],
        "state": {},
    }


async def _receive() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}
