"""Guards of clients: the same calls by every library, over sockets, of a service that has its troubles."""

from __future__ import annotations

import random
import threading
from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

import pytest

from atrion import FlowRejected, Outcome, Tier
from atrion.propagation import use
from atrion.testing import VirtualClock, force_open, force_shed
from packages.atrion.tests.conformance.subject import Heard, Recorder, Subject, eventually

__all__ = ["Caller", "Outgoing", "Upstream"]

RATE = 20.0
"""Calls a second during an outage."""


@dataclass
class Upstream:
    """A running service, what its answers wait for, and how many requests it has seen."""

    port: int
    gate: threading.Event = field(default_factory=threading.Event)
    seen: list[str] = field(default_factory=list)


class Caller(Protocol):
    """Operations: item, missing (the caller's fault), broken (the service's), busy (come back later), hold, dead."""

    def ask(self, operation: str, timeout: float = 20.0) -> None:
        """Call, and raise what the library raises; an answer that is an error may raise or not."""

    def stream(self) -> AbstractContextManager[Iterator[bytes]]:
        """Call for a stream; only the callers of libraries that are ``streamed`` are asked to."""
        raise AssertionError("this library has no streams")


class Outgoing(Subject):
    """A library's guard."""

    failures = ("broken", "hold", "dead")
    troubles = ("dead", "hold")
    """How its dependency may be down."""
    failure_text = "5xx, timeouts, no connection"
    busy_text = "429 and 503 with `Retry-After` are obeyed"
    names_text = "`host:port`, or `dependency=`"
    streamed = True
    host = "127.0.0.1"

    @abstractmethod
    def upstream(self) -> AbstractContextManager[Upstream]: ...

    @abstractmethod
    def caller(
        self, upstream: Upstream, engine: Recorder, options: dict[str, Any]
    ) -> AbstractContextManager[Caller]: ...

    def route(self, upstream: Upstream) -> str:
        return f"127.0.0.1:{upstream.port}"

    @contextmanager
    def session(
        self, engine: Recorder | None = None, **options: Any
    ) -> Iterator[tuple[Recorder, Upstream, Caller]]:
        engine = engine or Recorder()
        with self.upstream() as upstream:
            with self.caller(upstream, engine, options) as caller:
                try:
                    yield engine, upstream, caller
                finally:
                    upstream.gate.set()
            eventually(lambda: engine.in_flight() == 0)

    @staticmethod
    def quietly(ask: Callable[[], None]) -> None:
        """A call that may raise what its library raises."""
        try:
            ask()
        except FlowRejected:
            raise
        except Exception:  # the engine tells how it ended
            pass

    # --- the columns ---------------------------------------------------------------------------------------

    def refused(self) -> str:
        with self.session() as (engine, upstream, caller):
            with force_shed(Tier.NORMAL, engine=engine), pytest.raises(FlowRejected) as shed:
                caller.ask("item")
            assert shed.value.decision.retry_after > 0.0
            assert upstream.seen == []
            caller.ask("item")
        return "`FlowRejected`, and sends nothing"

    def faults(self) -> str:
        expected = {"item": Outcome.SUCCESS, "missing": Outcome.IGNORED}
        for operation in ("item", "missing", *self.failures):
            with self.session() as (engine, _, caller):
                timeout = 0.2 if operation == "hold" else 20.0
                self.quietly(lambda: caller.ask(operation, timeout))  # noqa: B023  # it is called at once
                last = engine.calls[-1]
                eventually(lambda: last.outcome is not None)  # noqa: B023
                assert last.outcome is expected.get(operation, Outcome.FAILURE), operation
        return self.failure_text + self.obeys()

    def obeys(self) -> str:
        """The service asks to be left alone for some time, and is."""
        if not self.busy_text:
            return ""
        clock = VirtualClock()
        with self.session(Recorder(clock), dependency="shop") as (engine, _, caller):
            self.quietly(lambda: caller.ask("busy"))
            eventually(lambda: engine.calls[-1].outcome is Outcome.IGNORED)
            with pytest.raises(FlowRejected) as shed:
                caller.ask("item")
            assert 0.5 < shed.value.decision.retry_after <= 30.0
            with use(tier="critical"):
                caller.ask("item")
            clock.advance(31.0)
            caller.ask("item")
        return "; " + self.busy_text

    def name(self) -> str:
        with self.session() as (engine, upstream, caller):
            caller.ask("item")
            assert list(engine.snapshot()) == [self.route(upstream)]
        with self.session(dependency="shop") as (engine, _, caller):
            caller.ask("item")
            assert list(engine.snapshot()) == ["shop"]
        return self.names_text

    def tier_and_key(self) -> str:
        heard = Heard()
        with self.session(key=lambda: "user-7") as (engine, upstream, caller):
            engine.observe(heard)
            with force_shed(Tier.NORMAL, engine=engine), use(tier="critical"):
                caller.ask("item")
            place = engine.decide(self.route(upstream), Tier.CRITICAL, key="user-7").voltage
            assert heard.decisions[0].voltage == place
        with self.session(tier="critical") as (engine, _, caller), force_shed(Tier.NORMAL, engine=engine):
            caller.ask("item")
        return "✓, or those of the request being served"

    def nothing_left(self) -> str:
        rng = random.Random(1)
        with self.session() as (engine, upstream, caller):
            for _ in range(8):
                self.quietly(lambda: caller.ask("hold", 0.001 + 0.05 * rng.random()))
            self.quietly(lambda: caller.ask("dead"))
            upstream.gate.set()
            eventually(lambda: engine.in_flight() == 0)
        return "timeouts, exceptions" + self.cancels()

    def cancels(self) -> str:
        """Calls are cancelled at random points, where the library knows that."""
        return ""

    def streams(self) -> str:
        if not self.streamed:
            return "–"
        with self.session() as (engine, upstream, caller):
            with caller.stream() as chunks:
                assert next(chunks)
                assert engine.in_flight() > 0
                assert engine.calls[-1].latency is not None
                upstream.gate.set()
                assert all(chunks)
            eventually(lambda: engine.in_flight() == 0)
            assert engine.calls[-1].outcome is Outcome.SUCCESS
        with self.session() as (engine, upstream, caller):
            with caller.stream() as chunks:
                assert next(chunks)
            eventually(lambda: engine.in_flight() == 0)
        return "in flight until read or closed"

    def excluded(self) -> str:
        with self.session(exclude=[self.host]) as (engine, _, caller), force_open(engine=engine):
            caller.ask("item")
            assert engine.snapshot() == {}
        return "by host"

    def shadow(self) -> str:
        with self.session(Recorder(enforce=False)) as (engine, upstream, caller):
            with force_open(engine=engine):
                caller.ask("item")
            assert engine.snapshot()[self.route(upstream)].would_shed == 1
        return "✓"

    def pattern(self) -> str:
        with self.session() as (engine, upstream, caller):
            engine.configure(self.route(upstream)[:-2] + "*", tier="critical")
            with force_shed(Tier.NORMAL, engine=engine):
                caller.ask("item")
        return "✓"

    def outage(self) -> str:
        """Calls by a clock of the test's, so that what is refused does not depend on the machine."""
        for trouble in self.troubles:
            clock = VirtualClock()
            with self.session(Recorder(clock), dependency="shop") as (_, upstream, caller):

                def served(
                    operation: str, seconds: float, caller: Caller = caller, clock: Any = clock
                ) -> float:
                    """The share of calls that are not refused."""
                    passed = 0
                    for _ in range(int(seconds * RATE)):
                        clock.advance(1.0 / RATE)
                        with suppress(FlowRejected):
                            self.quietly(lambda: caller.ask(operation, 0.02 if operation == "hold" else 20.0))
                            passed += 1
                    return passed / int(seconds * RATE)

                assert served("item", 3.0) == 1.0
                wasted = served(trouble, 10.0)
                upstream.gate.set()
                served("item", 2.0)
                well = served("item", 2.0)
                assert (wasted <= 0.3, well) == (True, 1.0), (trouble, wasted)
        return "≤ 30% of calls are sent; all are 2 s after it is back"
