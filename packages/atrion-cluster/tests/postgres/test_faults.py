"""What happens when the server dies, hangs or refuses: nothing, to those who call."""

from __future__ import annotations

import asyncio
import logging
import math
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from atrion import Atrion, InMemoryProvider, PhysicsVector, ProviderError
from atrion.testing import VirtualClock
from atrion_cluster import PostgresPersistenceAdapter
from atrion_cluster.postgres.settings import settings_from

PROCESS = Path(__file__).with_name("kept_process.py")
Act = Callable[[Any], None]


class Traffic:
    """Calls that never stop; each one that does not simply flow is a failure of the test."""

    def __init__(self, engine: Atrion) -> None:
        self.engine = engine
        self.calls = 0

    async def flow(self) -> None:
        while True:
            async with self.engine.flow("shop"):
                self.calls += 1
            await asyncio.sleep(0.001)


async def pulses_until(engine: Atrion, worked: bool, scar: list[float]) -> None:
    """Pulse, each with something new to keep, until one works or fails as wanted."""
    for _ in range(100):
        scar[0] += 1.0
        engine.restore("scarred", PhysicsVector(0.0, 0.0, scar[0], 0.0))
        if await engine.pulse_once() is worked:
            return
        await asyncio.sleep(0.02)
    pytest.fail(f"no pulse {'worked' if worked else 'failed'}")


def kill(server: Any) -> None:
    server.kill()


def restart(server: Any) -> None:
    server.start()


def stop(server: Any) -> None:
    server.signal(signal.SIGSTOP)


def go_on(server: Any) -> None:
    server.signal(signal.SIGCONT)


def make_read_only(server: Any) -> None:
    server.execute("ALTER ROLE app SET default_transaction_read_only = on")
    disconnect_everybody(server)


def make_writable(server: Any) -> None:
    server.execute("ALTER ROLE app RESET default_transaction_read_only")


def disconnect_everybody(server: Any) -> None:
    server.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'")


def change_password(server: Any) -> None:
    server.execute("ALTER ROLE app PASSWORD 'another'")
    disconnect_everybody(server)


def change_it_back(server: Any) -> None:
    server.execute("ALTER ROLE app PASSWORD 'apps-secret'")


def revoke(server: Any) -> None:
    server.execute("REVOKE ALL ON atrion_vector FROM app")


def grant(server: Any) -> None:
    server.execute("GRANT ALL ON atrion_vector, atrion_history, atrion_migration TO app")


def lock(server: Any) -> None:
    server.execute("ALTER TABLE atrion_vector RENAME TO gone")


def unlock(server: Any) -> None:
    server.execute("ALTER TABLE gone RENAME TO atrion_vector")


@pytest.fixture
def app_url(own_server: Any) -> str:
    """As a role that owns nothing, which is how it should be run."""

    async def migrate() -> None:
        owner = PostgresPersistenceAdapter(own_server.url())
        await owner.connect()
        await owner.disconnect()

    asyncio.run(migrate())
    grant(own_server)
    url: str = own_server.url(user="app", password="apps-secret", deadline=0.2)
    return url


@pytest.mark.parametrize(
    "begin, end",
    [
        (kill, restart),
        (stop, go_on),
        (make_read_only, make_writable),
        (change_password, change_it_back),
        (revoke, grant),
        (lock, unlock),
    ],
    ids=lambda act: act.__name__,
)
def test_an_outage_reaches_no_caller_and_is_two_lines_in_the_log(
    begin: Act, end: Act, own_server: Any, app_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    engine = Atrion(provider=app_url, clock=VirtualClock())
    scar = [0.0]

    async def main() -> None:
        traffic = Traffic(engine)
        calls = asyncio.create_task(traffic.flow())
        await pulses_until(engine, True, scar)
        await asyncio.to_thread(begin, own_server)
        await pulses_until(engine, False, scar)
        during = traffic.calls
        for _ in range(4):
            await engine.pulse_once()
        await asyncio.to_thread(end, own_server)
        await pulses_until(engine, True, scar)
        assert traffic.calls > during
        assert not calls.done()
        calls.cancel()
        await engine.disconnect()

    with caplog.at_level(logging.INFO):
        asyncio.run(main())
    assert [
        record.message.split(" (")[0] for record in caplog.records if record.levelno >= logging.WARNING
    ] == [
        "state provider fails",
        "state provider answers again",
    ]
    assert "apps-secret" not in caplog.text
    kept = own_server.execute("SELECT scar_tissue FROM atrion_vector WHERE route = 'scarred'")
    assert kept == [(pytest.approx(scar[0]),)]


def test_connections_cut_at_any_time_are_not_even_noticed(
    own_server: Any, app_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    engine = Atrion(provider=app_url, clock=VirtualClock())
    scar = [0.0]

    async def main() -> None:
        for _ in range(10):
            await pulses_until(engine, True, scar)
            await asyncio.to_thread(disconnect_everybody, own_server)
        await engine.disconnect()

    asyncio.run(main())
    assert engine.state.failures == 0
    assert caplog.records == []


def test_leaving_a_hung_server_takes_no_time(own_server: Any) -> None:
    async def main() -> None:
        adapter = PostgresPersistenceAdapter(own_server.url())
        await adapter.connect()
        adapter.subscribe("r", lambda _: None)
        await adapter.update_vector("r", PhysicsVector(1.0, 0.0, 1.0, 1.0))
        own_server.signal(signal.SIGSTOP)
        hung = [asyncio.create_task(adapter.get_vector("r")) for _ in range(5)]
        await asyncio.sleep(0)
        async with asyncio.timeout(1.0):
            await adapter.disconnect()
        for answer in await asyncio.gather(*hung, return_exceptions=True):
            assert isinstance(answer, ProviderError)
        async with asyncio.timeout(1.0):
            with pytest.raises(ProviderError, match="does not answer within"):
                await adapter.connect()
        async with asyncio.timeout(1.0):
            await adapter.disconnect()
        own_server.signal(signal.SIGCONT)
        await adapter.connect()
        assert await adapter.get_vector("r") is not None
        await adapter.disconnect()
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(main())


def test_a_whole_engine_leaves_a_hung_server_within_a_second(own_server: Any) -> None:
    async def main() -> None:
        engine = Atrion(provider=InMemoryProvider(), persistence=own_server.url())
        await engine.connect()
        async with engine.flow("r"):
            pass
        own_server.signal(signal.SIGSTOP)
        async with asyncio.timeout(1.0):
            await engine.disconnect()

    asyncio.run(main())


def test_subscribers_hear_what_changed_while_nobody_could_listen(own_server: Any) -> None:
    async def main() -> None:
        reader, writer = (PostgresPersistenceAdapter(own_server.url()) for _ in range(2))
        channel = settings_from(own_server.url(), "atrion", 0.0, 60.0, 0.8).channel
        await reader.connect()
        heard: list[float] = []
        news = asyncio.Event()

        def hear(vector: PhysicsVector) -> None:
            heard.append(vector.scar_tissue)
            news.set()

        async def until(scar: float) -> None:
            while scar not in heard:
                news.clear()
                await news.wait()

        reader.subscribe("r", hear)
        await writer.connect()
        await writer.update_vector("r", PhysicsVector(1.0, 0.0, 1.0, 1.0))
        await until(1.0)
        own_server.kill()
        own_server.start()
        await writer.update_vector("r", PhysicsVector(1.0, 0.0, 2.0, 1.0))
        await until(2.0)
        own_server.execute(f"NOTIFY {channel}, 'what is this?'")
        await writer.update_vector("r", PhysicsVector(1.0, 0.0, 3.0, 1.0))
        await until(3.0)
        assert len(heard) == len(set(heard))
        for adapter in (reader, writer):
            await adapter.disconnect()

    asyncio.run(main())


# --- starting again ------------------------------------------------------------------------------------------


@contextmanager
def process(url: str, role: str) -> Iterator[list[str]]:
    """The first line that a process in a role says; killed at the end."""
    command = [sys.executable, str(PROCESS), url, role]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout is not None
            yield child.stdout.readline().split()
        finally:
            child.kill()


def test_a_process_killed_and_started_again_begins_with_its_decayed_scar(server: Any) -> None:
    url = server.url(namespace="restart")
    with process(url, "break") as (said, scar):
        assert said == "kept"
    killed = time.monotonic()
    with process(url, "first") as (said, resistance, carried):
        assert said == "first"
    age = time.monotonic() - killed
    assert float(scar) * math.exp(-0.8 * age) * 0.5 <= float(carried) <= 300.0
    assert float(resistance) >= float(carried)
