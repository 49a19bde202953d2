"""The server of ``atrion lab real``: the lab's own pools of workers, on real time, behind the real middleware."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from atrion.engine import Atrion
from atrion.integrations.asgi import AtrionMiddleware
from atrion.sensing.telemetry import Outcome
from atrion_lab.metrics import Recorder
from atrion_lab.policies.port import BasePolicy, Call
from atrion_lab.real.streams import stream
from atrion_lab.scenarios.real import REAL
from atrion_lab.simulator import Gate, Pool

__all__ = ["READY", "SETTING", "RealTime", "app"]

READY = "/-/ready"
"""Path that answers as soon as a worker does."""
SETTING = "ATRION_LAB_REAL"
"""Environment variable: the scenario, whether it is protected, and the file that holds when second 0 is."""


class RealTime:
    """The lab's timeline on a running event loop; second 0 is ``start`` of the monotonic clock."""

    def __init__(self, start: float) -> None:
        self._start = start

    @property
    def now(self) -> float:
        """Seconds since the start."""
        return asyncio.get_running_loop().time() - self._start

    def at(self, when: float, action: Callable[[Any], object], argument: Any = None) -> None:
        """Plan ``action(argument)``."""
        asyncio.get_running_loop().call_at(self._start + when, action, argument)


class _Waiter:
    """An HTTP request that waits for its call."""

    steps = 0

    def __init__(self) -> None:
        self.answer: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

    def rejected(self, call: Call) -> None:
        """Nobody refuses behind the middleware."""

    def answered(self, call: Call, outcome: Outcome, now: float) -> None:
        """Wake the request."""
        if not self.answer.done():
            self.answer.set_result(outcome)


class _Service:
    """Work as the request asks for it: its seconds and its luck come in the query, as the lab has drawn them."""

    def __init__(self, name: str, begin: Path) -> None:
        self._each = REAL[name]
        self._begin = begin
        self._gates: dict[str, Gate] = {}
        self._clock: RealTime | None = None

    def _open(self) -> RealTime:
        """The pools, from the first request on: only then is it known when the scenario began."""
        clock = RealTime(float(self._begin.read_text()))
        scenario = self._each.scenario
        pools = {name: Pool(clock, server) for name, server in scenario.servers.items()}
        recorder = Recorder(3600.0)
        for name in (*scenario.routes, *scenario.servers):
            pool = pools[scenario.route(name).server]
            self._gates[f"/{name}"] = Gate(clock, name, BasePolicy(), pool, recorder)
        return clock

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if self._each.streams and await stream(scope, receive, send):
            return
        status = 200
        if scope["path"] != READY:
            if self._clock is None:
                self._clock = self._open()
            service, _, luck = scope["query_string"].partition(b"&")
            waiter = _Waiter()
            now = self._clock.now
            call = Call("", 2, None, now, now + 1.0, float(service), luck=float(luck), request=waiter)
            self._gates[scope["path"]].submit(call)
            status = 200 if await waiter.answer is Outcome.SUCCESS else 500
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})


def app() -> Any:
    """The application of one worker process."""
    name, protected, begin = os.environ[SETTING].split(" ", 2)
    service = _Service(name, Path(begin))
    if protected == "0":
        return service
    return AtrionMiddleware(service, Atrion(), trust_tier_header=True, exclude=("/-",))
