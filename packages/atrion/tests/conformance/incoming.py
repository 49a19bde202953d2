"""Guards of servers: the same service in every framework, called over sockets."""

from __future__ import annotations

import random
import socket
import threading
from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Protocol, Self

import httpx

from atrion import Outcome, Tier
from atrion.physics import BAND_WIDTH, band
from atrion.testing import force_open, force_shed
from packages.atrion.tests.conformance.subject import Heard, Recorder, Subject, eventually

__all__ = ["Answer", "Client", "HttpClient", "Incoming", "Session", "unkept"]


@dataclass(frozen=True)
class Answer:
    """What a client was answered: a status, what it says of a refusal, and the seconds to wait."""

    status: str
    says: str = ""
    retry_after: float = 0.0


class Client(Protocol):
    """Operations: item, missing (the client's fault), broken (the server's), raise, inner, hold, stream, health."""

    def ask(self, operation: str, *, tier: str | None = None, user: str | None = None) -> Answer: ...

    def stream(self) -> AbstractContextManager[Iterator[bytes]]: ...

    def leave(self, operation: str, when: Callable[[], object]) -> None:
        """Ask, and leave without an answer once ``when`` returns."""


@dataclass(frozen=True)
class Session:
    """A running service, its engine, its client, and what its handlers wait for."""

    engine: Recorder
    gate: threading.Event
    client: Client


class Incoming(Subject):
    """A framework's guard."""

    ok = "200"
    excluded_prefix = "/health"
    failure_codes = "5xx, exceptions"
    cancels = False
    """Whether its server cancels calls that ask for it."""

    @abstractmethod
    def serve(
        self, engine: Recorder, gate: threading.Event, options: dict[str, Any]
    ) -> AbstractContextManager[Client]: ...

    @abstractmethod
    def user(self, request: Any) -> str | None:
        """The caller, as the framework's request says it in ``x-user``."""

    def route(self, operation: str) -> str:
        paths = {"item": "/items/{id}"}
        return f"GET {paths.get(operation, f'/{operation}')}"

    @contextmanager
    def session(self, engine: Recorder | None = None, **options: Any) -> Iterator[Session]:
        engine = engine or Recorder()
        gate = threading.Event()
        options = {"exclude": [self.excluded_prefix], "trust_tier_header": True, **options}
        with self.serve(engine, gate, options) as client:
            try:
                yield Session(engine, gate, client)
            finally:
                gate.set()
        eventually(lambda: engine.in_flight() == 0)

    # --- the columns ---------------------------------------------------------------------------------------

    def refused(self) -> str:
        with self.session() as it:
            with force_shed(Tier.NORMAL, engine=it.engine):
                shed = it.client.ask("item")
            inner = it.client.ask("inner")
            assert it.client.ask("item").status == self.ok
        assert shed.retry_after >= 1.0
        assert (inner.says, inner.status) == (shed.says, shed.status)
        assert it.engine.calls[1].outcome is Outcome.IGNORED
        return shed.says

    def faults(self) -> str:
        found = {}
        with self.session() as it:
            for operation in ("item", "missing", "broken", "raise"):
                it.client.ask(operation)
                last = it.engine.calls[-1]
                eventually(lambda call=last: call.outcome is not None)
                found[operation] = last.outcome
        assert found == {
            "item": Outcome.SUCCESS,
            "missing": Outcome.IGNORED,
            "broken": Outcome.FAILURE,
            "raise": Outcome.FAILURE,
        }
        return self.failure_codes

    def name(self) -> str:
        with self.session() as it:
            it.client.ask("item")
            assert list(it.engine.snapshot()) == [self.route("item")]
        with self.session(route=lambda request: "mine") as it:
            it.client.ask("item")
            assert list(it.engine.snapshot()) == ["mine"]
        return f"`{self.route('item')}`"

    def tier_and_key(self) -> str:
        heard = Heard()

        def tier(request: Any) -> str | None:
            if self.user(request) == "chief":
                return "critical"
            raise LookupError  # what a function of the host's raises harms nobody

        with self.session(key=self.user, tier=tier) as it:
            it.engine.observe(heard)
            with force_shed(Tier.NORMAL, engine=it.engine):
                assert it.client.ask("item", tier="normal").status != self.ok
                assert it.client.ask("item", tier="nonsense").status != self.ok
                assert it.client.ask("item", tier="critical", user="user-7").status == self.ok
                assert it.client.ask("item", user="chief").status == self.ok
            voltage = heard.decisions[2].voltage
            assert band(Tier.CRITICAL) <= voltage < band(Tier.CRITICAL) + BAND_WIDTH
            place = it.engine.decide(self.route("item"), Tier.CRITICAL, key="user-7").voltage
            assert voltage == place
        with self.session(trust_tier_header=False) as it, force_shed(Tier.NORMAL, engine=it.engine):
            assert it.client.ask("item", tier="critical").status != self.ok
        return "✓"

    def nothing_left(self) -> str:
        rng = random.Random(1)
        with self.session() as it:
            it.client.ask("raise")
            for operation in ("hold", "stream"):
                before = len(it.engine.calls)
                began = lambda many=before: eventually(lambda: len(it.engine.calls) > many)  # noqa: E731
                it.client.leave(operation, began)
                for _ in range(8):
                    it.client.leave(operation, lambda: threading.Event().wait(0.02 * rng.random()))
            it.gate.set()
            eventually(lambda: it.engine.in_flight() == 0)
            assert it.client.ask("item").status == self.ok
        return "exceptions, clients that leave"

    def streams(self) -> str:
        with self.session() as it:
            with it.client.stream() as chunks:
                assert next(chunks)
                eventually(lambda: it.engine.calls[-1].latency is not None)
                assert it.engine.in_flight() == 1
                it.gate.set()
                assert all(chunks)
            eventually(lambda: it.engine.in_flight() == 0)
            assert it.engine.calls[-1].outcome is Outcome.SUCCESS
        with self.session() as it:
            it.client.leave("stream", lambda: eventually(lambda: it.engine.in_flight() == 1))
            eventually(lambda: it.engine.in_flight() == 0)
            assert it.engine.calls[-1].outcome is Outcome.IGNORED
        return "in flight to their end"

    def excluded(self) -> str:
        with self.session() as it, force_open(engine=it.engine):
            assert it.client.ask("health").status == self.ok
            assert it.client.ask("item").status != self.ok
            assert self.route("health") not in it.engine.snapshot()
        return "by prefix"

    def shadow(self) -> str:
        with self.session(Recorder(enforce=False)) as it:
            with force_open(engine=it.engine):
                assert it.client.ask("item").status == self.ok
            assert it.engine.snapshot()[self.route("item")].would_shed == 1
        return "✓"

    def pattern(self) -> str:
        with self.session() as it:
            it.engine.configure(self.route("item").replace("{id}", "*"), tier="critical")
            with force_shed(Tier.NORMAL, engine=it.engine):
                assert it.client.ask("item").status == self.ok
                assert it.client.ask("raise").status not in (self.ok, "500")
        return "✓"


def unkept(port: int) -> httpx.Client:
    """A client with a connection for each request: servers close one after an error, and may not say so in time."""
    return httpx.Client(
        base_url=f"http://127.0.0.1:{port}",
        timeout=20.0,
        trust_env=False,
        limits=httpx.Limits(max_keepalive_connections=0),
    )


class HttpClient:
    """Talks HTTP/1.1 to a port."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._http = unkept(port)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._http.close()

    @staticmethod
    def path(operation: str) -> str:
        return "/items/7" if operation == "item" else f"/{operation}"

    def ask(self, operation: str, *, tier: str | None = None, user: str | None = None) -> Answer:
        headers = {name: value for name, value in (("x-atrion-tier", tier), ("x-user", user)) if value}
        response = self._http.get(self.path(operation), headers=headers)
        if response.status_code != 503:
            return Answer(str(response.status_code))
        problem = response.json()
        assert response.headers["content-type"] == "application/problem+json"
        assert response.headers["cache-control"] == "no-store"
        assert problem["status"] == 503
        assert problem["retry_after"] == int(response.headers["retry-after"])
        kind = problem["type"].rpartition("#")[2]
        return Answer("503", f"503 `{kind}`, `Retry-After`", float(problem["retry_after"]))

    @contextmanager
    def stream(self) -> Iterator[Iterator[bytes]]:
        with self._http.stream("GET", "/stream") as response:
            yield response.iter_raw()

    def leave(self, operation: str, when: Callable[[], object]) -> None:
        with socket.create_connection(("127.0.0.1", self.port), 20.0) as connection:
            connection.sendall(f"GET {self.path(operation)} HTTP/1.1\r\nhost: x\r\n\r\n".encode())
            when()
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
