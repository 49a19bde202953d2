"""An upstream that hangs, and comes back: little is wasted on it, and soon all is as before."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from atrion import SLO, Atrion, FlowRejected
from atrion.integrations.httpx import AtrionTransport
from packages.atrion.tests.conformance.serving import served_by_threads


@pytest.mark.slow
def test_little_is_wasted_on_an_upstream_that_hangs_and_all_is_as_before_when_it_is_back() -> None:
    hangs = threading.Event()

    def app(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        until = time.monotonic() + 3.0
        while hangs.is_set() and time.monotonic() < until:
            time.sleep(0.01)
        start("200 OK", [])
        return [b"ok"]

    atrion = Atrion(slo=SLO(latency=0.25))
    transport = AtrionTransport(atrion, dependency="shop")
    with served_by_threads(app) as service, httpx.Client(transport=transport, timeout=0.25) as client:
        url = f"http://127.0.0.1:{service.port}/"

        def call(_: object) -> str:
            time.sleep(0.02)
            try:
                return str(client.get(url).status_code)
            except FlowRejected:
                return "shed"
            except httpx.TransportError:
                return "timeout"

        def calls(seconds: float) -> Counter[str]:
            found: Counter[str] = Counter()
            until = time.monotonic() + seconds
            with ThreadPoolExecutor(8) as pool:
                while time.monotonic() < until:
                    found.update(pool.map(call, range(16)))
            return found

        before = calls(2.0)
        hangs.set()
        during = calls(5.0)
        hangs.clear()
        calls(3.0)  # it is tried, and found to be back
        after = calls(2.0)
    assert before["200"] > 0.95 * before.total()
    assert during["timeout"] < 0.3 * during.total()
    assert during["shed"] > 0.5 * during.total()
    assert after["200"] > 0.9 * after.total()
