"""Providers that each break a law of the contract, and which."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping
from typing import Any

from atrion import InMemoryProvider, PhysicsVector, ProviderError
from atrion.state import VITALS_EXPIRY, VITALS_MOST_BYTES, ClusterScar, NodeRow, Remembered
from atrion.testing import VirtualClock


class NeverCold(InMemoryProvider):
    async def get_vector(self, route_id: str) -> PhysicsVector | None:
        return await super().get_vector(route_id) or PhysicsVector(0.0, 0.0, 0.0, 0.0)


class Rounds(InMemoryProvider):
    async def update_vector(self, route_id: str, vector: PhysicsVector) -> None:
        short = PhysicsVector(
            vector.resistance, round(vector.momentum, 6), vector.scar_tissue, vector.timestamp
        )
        await super().update_vector(route_id, short)


class FoldsCase(InMemoryProvider):
    async def get_vector(self, route_id: str) -> PhysicsVector | None:
        return await super().get_vector(route_id.lower())

    async def update_vector(self, route_id: str, vector: PhysicsVector) -> None:
        await super().update_vector(route_id.lower(), vector)


class OneSubscriber(InMemoryProvider):
    """A new subscription ends the one before."""

    def __init__(self) -> None:
        super().__init__()
        self.end: Callable[[], None] = lambda: None

    def subscribe(self, route_id: str, callback: Callable[[PhysicsVector], None]) -> Callable[[], None]:
        self.end()
        self.end = super().subscribe(route_id, callback)
        return self.end


class EndsAll(InMemoryProvider):
    """The end of a subscription ends all of them."""

    def __init__(self) -> None:
        super().__init__()
        self.ends: list[Callable[[], None]] = []

    def subscribe(self, route_id: str, callback: Callable[[PhysicsVector], None]) -> Callable[[], None]:
        self.ends.append(super().subscribe(route_id, callback))

        def end() -> None:
            for each in self.ends:
                each()

        return end


class NeverEnds(InMemoryProvider):
    def subscribe(self, route_id: str, callback: Callable[[PhysicsVector], None]) -> Callable[[], None]:
        super().subscribe(route_id, callback)
        return lambda: None


class ConnectsOnce(InMemoryProvider):
    connected = 0

    async def connect(self) -> None:
        self.connected += 1
        if self.connected > 1:
            raise RuntimeError("already connected")


class LosesOnConnect(InMemoryProvider):
    def __init__(self) -> None:
        super().__init__()
        self.written: set[str] = set()

    async def connect(self) -> None:
        self.written.clear()

    async def update_vector(self, route_id: str, vector: PhysicsVector) -> None:
        await super().update_vector(route_id, vector)
        self.written.add(route_id)

    async def get_vector(self, route_id: str) -> PhysicsVector | None:
        return await super().get_vector(route_id) if route_id in self.written else None


class Swallows(InMemoryProvider):
    async def update_vector(self, route_id: str, vector: PhysicsVector) -> None:
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            return
        await super().update_vector(route_id, vector)


class LocksForEver(InMemoryProvider):
    """What is cancelled while it holds the lock keeps it."""

    def __init__(self) -> None:
        super().__init__()
        self.one_at_a_time = asyncio.Lock()

    async def update_vector(self, route_id: str, vector: PhysicsVector) -> None:
        await self.one_at_a_time.acquire()
        await asyncio.sleep(0)
        await super().update_vector(route_id, vector)
        self.one_at_a_time.release()


class OneLoop(InMemoryProvider):
    loop: Any = None

    async def get_vector(self, route_id: str) -> PhysicsVector | None:
        loop = asyncio.get_running_loop()
        self.loop = self.loop or loop
        if self.loop is not loop:
            raise RuntimeError("attached to a different loop")
        return await super().get_vector(route_id)


class CountsItself(InMemoryProvider):
    async def exchange(
        self, node: str, rows: Mapping[str, NodeRow], routes: list[str]
    ) -> Mapping[str, ClusterScar]:
        await super().exchange(node, rows, routes)
        return await super().exchange("nobody", {}, routes)


class NeverFades(InMemoryProvider):
    async def exchange(
        self, node: str, rows: Mapping[str, NodeRow], routes: list[str]
    ) -> Mapping[str, ClusterScar]:
        flat = {route: NodeRow(row.vector, row.evidence, 0.0) for route, row in rows.items()}
        return await super().exchange(node, flat, routes)


class Adds(InMemoryProvider):
    """Every row counts as another node's."""

    calls = 0

    async def exchange(
        self, node: str, rows: Mapping[str, NodeRow], routes: list[str]
    ) -> Mapping[str, ClusterScar]:
        self.calls += 1
        await super().exchange(f"{node}{self.calls}", rows, routes)
        return await super().exchange(node, {}, routes)


class TellsOnce(InMemoryProvider):
    """Leaves out whatever it has answered before, also where it has changed."""

    def __init__(self) -> None:
        super().__init__()
        self.told: set[tuple[str, str]] = set()

    async def exchange(
        self, node: str, rows: Mapping[str, NodeRow], routes: list[str]
    ) -> Mapping[str, ClusterScar]:
        found = await super().exchange(node, rows, routes)
        fresh = {route: scar for route, scar in found.items() if (node, route) not in self.told}
        self.told.update((node, route) for route in fresh)
        return fresh


class Ageless(InMemoryProvider):
    async def recall(self, node: str, limit: int) -> Mapping[str, Remembered]:
        found = await super().recall(node, limit)
        return {route: Remembered(kept.vector, 0.0) for route, kept in found.items()}


class RecallsAll(InMemoryProvider):
    async def recall(self, node: str, limit: int) -> Mapping[str, Remembered]:
        return await super().recall(node, 1000)


class Deaf(InMemoryProvider):
    def listen(self, node: str, callback: Callable[[str, ClusterScar], None]) -> Callable[[], None]:
        return lambda: None


class ListsAll(InMemoryProvider):
    async def list_routes(self, limit: int) -> list[str]:
        return await super().list_routes(1000)


class Hangs(InMemoryProvider):
    async def disconnect(self) -> None:
        await asyncio.Event().wait()


BROKEN: list[tuple[type[InMemoryProvider], str]] = [
    (NeverCold, "a route never written is none"),
    (Rounds, "what is written is read back exactly"),
    (FoldsCase, "routes are told apart whatever their names"),
    (OneSubscriber, "subscribers hear every change of their route"),
    (EndsAll, "a subscription ends alone and ends once"),
    (NeverEnds, "a subscription ends alone and ends once"),
    (ConnectsOnce, "connecting again changes nothing"),
    (LosesOnConnect, "connecting again changes nothing"),
    (Swallows, "a call may be cancelled at any await"),
    (LocksForEver, "a call may be cancelled at any await"),
    (OneLoop, "a provider may move to another event loop"),
    (CountsItself, "ones own rows do not count"),
    (NeverFades, "scars and evidence fade with age"),
    (Adds, "a new row takes the place of the old"),
    (TellsOnce, "what changed is told and what did not may be left out"),
    (Ageless, "what was kept is recalled with its age"),
    (RecallsAll, "what was kept is recalled with its age"),
    (Deaf, "listeners hear at once when anothers scar jumps"),
    (ListsAll, "what is kept is listed within the limit"),
    (Hangs, "disconnecting again changes nothing"),
]
CLOCK = VirtualClock()


async def asleep(seconds: float) -> None:
    CLOCK.advance(seconds)


class PassesOn(InMemoryProvider):
    """Passes vitals on, by a clock that does not wait."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = CLOCK
        self.watched_at = -math.inf
        self.said: dict[str, tuple[float, bytes]] = {}

    async def is_watched(self) -> bool:
        return self.clock.now - self.watched_at < VITALS_EXPIRY

    async def publish_vitals(self, node: str, vitals: bytes) -> None:
        if len(vitals) > VITALS_MOST_BYTES:
            raise ProviderError("too much")
        self.said[node] = (self.clock.now, vitals)

    async def watch_vitals(self) -> Mapping[str, tuple[float, bytes]]:
        self.watched_at = self.clock.now
        ages = {node: (self.clock.now - at, vitals) for node, (at, vitals) in self.said.items()}
        return {node: told for node, told in ages.items() if told[0] <= VITALS_EXPIRY}


class AlwaysWatched(PassesOn):
    async def is_watched(self) -> bool:
        return True


class NeverWatched(PassesOn):
    async def is_watched(self) -> bool:
        return False


class Cuts(PassesOn):
    async def publish_vitals(self, node: str, vitals: bytes) -> None:
        await super().publish_vitals(node, vitals[:VITALS_MOST_BYTES])


class OnlySmall(PassesOn):
    async def publish_vitals(self, node: str, vitals: bytes) -> None:
        if len(vitals) < 1 << 16:
            await super().publish_vitals(node, vitals)


class IsText(PassesOn):
    async def publish_vitals(self, node: str, vitals: bytes) -> None:
        await super().publish_vitals(node, vitals.decode(errors="replace").encode())


class Appends(PassesOn):
    async def publish_vitals(self, node: str, vitals: bytes) -> None:
        before = self.said.get(node, (0.0, b""))[1]
        await super().publish_vitals(node, before + vitals)


class OneLine(PassesOn):
    async def publish_vitals(self, node: str, vitals: bytes) -> None:
        await super().publish_vitals(node.partition("\n")[0], vitals)


class NeverForgets(PassesOn):
    async def watch_vitals(self) -> Mapping[str, tuple[float, bytes]]:
        await super().watch_vitals()
        return {node: (self.clock.now - at, vitals) for node, (at, vitals) in self.said.items()}


class AlwaysFresh(PassesOn):
    async def watch_vitals(self) -> Mapping[str, tuple[float, bytes]]:
        return {node: (0.0, vitals) for node, (_, vitals) in (await super().watch_vitals()).items()}


BROKEN_VITALS: list[tuple[type[PassesOn], str]] = [
    (AlwaysWatched, "nobody watches until somebody does"),
    (NeverWatched, "nobody watches until somebody does"),
    (AlwaysWatched, "watching and vitals expire"),
    (NeverForgets, "watching and vitals expire"),
    (AlwaysFresh, "what a node says is told whole and with its age"),
    (IsText, "what a node says is told whole and with its age"),
    (Appends, "what a node says takes the place of what it said before"),
    (OneLine, "nodes are told apart whatever their names"),
    (Cuts, "vitals are bounded and never cut"),
    (OnlySmall, "vitals are bounded and never cut"),
    (AlwaysWatched, "other stores are not watched with this one"),
]
