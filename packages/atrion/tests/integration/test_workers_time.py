"""Ages in the store of a host's workers: they survive restarts, and clocks that leap."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path

import pytest

from atrion import PhysicsVector
from atrion.providers._lmdb_records import HostClock
from atrion.providers.workers import WorkersProvider
from atrion.state import ClusterScar
from atrion.state.blending import EVIDENCE_SECONDS
from packages.atrion.tests.integration.rows import row


class FakeHost(HostClock):
    def __init__(self, boot: bytes, uptime: float, wall: float) -> None:
        self.boot_id, self.up, self.now = boot, uptime, wall

    def boot(self) -> bytes:
        return self.boot_id

    def uptime(self) -> float:
        return self.up

    def wall(self) -> float:
        return self.now


async def age_after(path: Path, before: HostClock, after: HostClock) -> float | None:
    one = WorkersProvider(path, clock=before)
    await one.connect()
    await one.update_vector("r", PhysicsVector(10.0, 0.0, 5.0, 1.0))
    await one.disconnect()
    other = WorkersProvider(path, clock=after)
    await other.connect()
    found = await other.recall("node", 10)
    await other.disconnect()
    return found["r"].age if "r" in found else None


ONE, TWO = b"1" * 16, b"2" * 16


@pytest.mark.parametrize(
    "before, after, age",
    [
        (FakeHost(ONE, 100.0, 1e9), FakeHost(ONE, 107.0, 1e9 + 7.0), 7.0),
        (FakeHost(ONE, 100.0, 1e9), FakeHost(ONE, 107.0, 5e8), 7.0),  # the wall clock was set back: no matter
        (FakeHost(ONE, 100.0, 1e9), FakeHost(ONE, 107.0, 2e9), 7.0),
        (FakeHost(ONE, 100.0, 1e9), FakeHost(ONE, 90.0, 1e9), 0.0),
        (FakeHost(ONE, 100.0, 1e9), FakeHost(TWO, 3.0, 1e9 + 40.0), 40.0),  # the host started anew
        (FakeHost(ONE, 100.0, 1e9), FakeHost(TWO, 3.0, 1e9 - 40.0), 0.0),  # … and its clock with it
        (FakeHost(ONE, 100.0, 1e9), FakeHost(TWO, 3.0, 1e9 + 1e8), 86_400.0),
        (
            FakeHost(b"", 100.0, 1e9),
            FakeHost(b"", 3.0, 1e9 + 40.0),
            40.0,
        ),  # a host that does not name its boots
    ],
)
def test_ages_survive_restarts_and_clocks_that_leap(
    tmp_path: Path, before: HostClock, after: HostClock, age: float
) -> None:
    assert asyncio.run(age_after(tmp_path, before, after)) == pytest.approx(age)


def test_time_goes_on_after_a_restart(tmp_path: Path) -> None:
    host = FakeHost(ONE, 100.0, 1e9)

    async def main() -> None:
        one, other = WorkersProvider(tmp_path, clock=host), WorkersProvider(tmp_path, clock=host)
        await one.connect()
        await other.connect()
        await one.exchange("a", {"r": row(8.0, 10.0, 0.5)}, [])
        host.boot_id, host.up, host.now = TWO, 1.0, host.now + 2.0
        assert await other.exchange("b", {}, ["r"]) == {
            "r": ClusterScar(
                pytest.approx(8.0 * math.exp(-1.0)), pytest.approx(10.0 * math.exp(-2.0 / EVIDENCE_SECONDS))
            )
        }
        await one.exchange("a", {"r": row(6.0, 10.0, 0.5)}, [])
        host.up += 2.0
        assert (await other.exchange("b", {}, ["r"]))["r"].scar == pytest.approx(6.0 * math.exp(-1.0))
        host.up += 61.0
        assert await other.list_nodes() == []
        assert (await other.exchange("c", {}, ["r"]))["r"].evidence == 0.0
        await one.disconnect()
        await other.disconnect()

    asyncio.run(main())
