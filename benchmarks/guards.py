"""What a library must offer to be measured, and the bare calls it is measured against."""

import importlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

from benchmarks.measure import AsyncCall, AsyncRefusing, Call, Down, NamedCall, Refusing
from benchmarks.requests import App

ROUTE = "api/checkout"
KEY = "user-7"
PASS_THROUGH = "pass-through"
"""The name of the middleware that does nothing, which nobody is compared with."""


def work() -> None:
    """The guarded call where it succeeds: empty, so that nothing but the guard is measured."""


async def work_async() -> None:
    """The same as a coroutine."""


def fail() -> None:
    """The guarded call where the guard refuses: what little gets through finds a dead dependency."""
    raise Down


async def fail_async() -> None:
    """The same as a coroutine."""
    raise Down


def work_named(name: str) -> None:
    """The bare call where a route is named at call time."""
    work()


def nothing_named(name: str) -> None:
    """The bare call where only a question about a named route is asked."""


class Guard:
    """One library as its documentation recommends it, state in memory; None where it has no such mode."""

    name: ClassVar[str]
    module: ClassVar[str]

    def __init__(self) -> None:
        self.lib: Any = importlib.import_module(self.module)

    @property
    def build(self) -> str:
        """`compiled` where the library's own module is an extension, else `pure`."""
        return _build_of(self.lib)

    def sync_ok(self) -> Call | None:
        """A guarded call that succeeds."""
        return None

    def watched(self) -> Call | None:
        """The same, while everything that can watch the library watches it: metrics and a dashboard."""
        return None

    def export(self, names: Iterable[str]) -> Call | None:
        """A scrape of Prometheus, for these routes, each of which has seen calls."""
        return None

    def sync_refusing(self) -> Refusing | None:
        """A guard that raises instead of calling."""
        return None

    def async_ok(self) -> AsyncCall | None:
        """A guarded coroutine that succeeds."""
        return None

    def async_refusing(self) -> AsyncRefusing | None:
        """A guard that raises instead of awaiting."""
        return None

    def by_name(self) -> NamedCall | None:
        """A guarded call on a route named at call time; good for 10,000 routes."""
        return None

    def decide(self) -> Call | None:
        """The question `may this call go?` without a call, answered as a value."""
        return None

    def decide_for_key(self) -> Call | None:
        """The same question for one caller's key."""
        return None

    def decide_by_name(self) -> NamedCall | None:
        """The same question for a route named at call time; good for 10,000 routes."""
        return None

    def update(self) -> Call | None:
        """Feed one observation from outside into the library's model of a route."""
        return None

    def pulse(self, names: Iterable[str]) -> AsyncCall | None:
        """One round of sharing state behind the calls, for these routes, which nobody calls any more."""
        return None

    def leases(self, count: int) -> Call | None:
        """A second of so many held leases: their heartbeats, one in ten seconds each, and the reviews."""
        return None

    def asgi(self) -> App | None:
        """The FastAPI application of :mod:`benchmarks.requests`, each request of which is guarded."""
        return None

    def populate(self, names: Iterable[str]) -> object:
        """Hold the state of these routes, each of which has seen a call; returns what must be kept alive."""
        return None


def _build_of(module: Any) -> str:
    return "pure" if Path(module.__file__ or "").suffix == ".py" else "compiled"
