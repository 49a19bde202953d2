"""A small shop to look at: a real engine, real calls that wait and fail, and traffic that is too much at times."""

from __future__ import annotations

import asyncio
import math
import random
import threading
from dataclasses import dataclass
from typing import Any, Final

from atrion import SLO, Atrion, FlowRejected, Tier
from atrion.errors import ConfigurationError
from atrion_studio.source import EngineSource, Row

__all__ = ["SCENES", "DemoSource"]

SLOTS: Final = 10
"""Calls that the database works on at once."""
HELD: Final = 0.05
"""Mean seconds for which a call holds one of them."""
CAPACITY: Final = SLOTS / HELD

SCENES: Final = {
    "tour": "one scene after the other",
    "calm": "half of what the shop can do",
    "overload": "two and a half times what the shop can do",
    "outage": "the payment provider fails",
}
TOUR: Final = (("calm", 12.0), ("overload", 25.0), ("calm", 12.0), ("outage", 15.0), ("calm", 16.0))
LOADS: Final = {"calm": 0.5, "overload": 2.5, "outage": 0.5}


@dataclass(frozen=True, slots=True)
class Ask:
    """A kind of request: where, at which tier, its share of the traffic, and whether it needs a payment."""

    route: str
    tier: Tier
    share: float
    pays: bool = False


ASKS: Final = (
    Ask("POST /checkout", Tier.CRITICAL, 0.08, pays=True),
    Ask("GET /account", Tier.HIGH, 0.15),
    Ask("GET /search", Tier.NORMAL, 0.40),
    Ask("GET /products", Tier.NORMAL, 0.17),
    Ask("GET /reviews", Tier.LOW, 0.13),
    Ask("GET /export", Tier.BULK, 0.07),
)


class DemoSource(EngineSource):
    """The shop's engine, and its traffic in a thread of its own."""

    def __init__(self, scene: str = "tour", seed: int = 7) -> None:
        super().__init__(Atrion(node="demo", slo=SLO(latency=0.8)))
        self.title = "demo shop"
        self._dice = random.Random(seed)
        self._chosen = scene
        self._now = TOUR[0][0] if scene == "tour" else scene
        self._closed = False
        self._thread: threading.Thread | None = None

    @property
    def scene(self) -> str:
        """The scene that was chosen."""
        return self._chosen

    def choose(self, scene: object) -> None:
        """Play another scene from now on.

        Raises:
            ConfigurationError: there is none of that name.
        """
        if scene not in SCENES:
            raise ConfigurationError("scene", scene, f"use one of {', '.join(SCENES)}")
        self._chosen = str(scene)

    def start(self) -> None:
        """Begin the traffic."""
        self._thread = threading.Thread(target=lambda: asyncio.run(self._play()), name="demo", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the traffic."""
        self._closed = True
        if self._thread is not None:
            self._thread.join(2.0)

    async def read(self) -> tuple[dict[str, Row], dict[str, Any]]:
        """The shop's routes, and the scene that is played."""
        rows, cluster = await super().read()
        return rows, {**cluster, "scene": self._now, "chosen": self._chosen}

    # --- traffic ---------------------------------------------------------------------------------------------

    async def _play(self) -> None:
        database = asyncio.Semaphore(SLOTS)
        tasks: set[asyncio.Task[None]] = set()
        loop = asyncio.get_running_loop()
        began = due = loop.time()
        while not self._closed:
            self._now = self._scene_at(loop.time() - began)
            due = max(due + self._dice.expovariate(LOADS[self._now] * CAPACITY), loop.time() - 0.5)
            await asyncio.sleep(max(due - loop.time(), 0.0))
            ask = self._dice.choices(ASKS, [ask.share for ask in ASKS])[0]
            task = loop.create_task(self._request(ask, f"user-{self._dice.randrange(400)}", database))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    def _scene_at(self, seconds: float) -> str:
        if self._chosen != "tour":
            return self._chosen
        rest = seconds % sum(length for _, length in TOUR)
        for scene, length in TOUR:
            rest -= length
            if rest < 0.0:
                return scene
        return TOUR[0][0]

    async def _request(self, ask: Ask, user: str, database: asyncio.Semaphore) -> None:
        try:
            async with self.engine.flow(ask.route, tier=ask.tier, key=user):
                async with database:
                    await asyncio.sleep(self._dice.lognormvariate(math.log(HELD) - 0.08, 0.4))
                if ask.pays:
                    await self._pay(ask.tier, user)
        except FlowRejected:
            pass  # what the engine counts is all there is to know of it

    async def _pay(self, tier: Tier, user: str) -> None:
        try:
            async with self.engine.flow("payments", tier=tier, key=user):
                await asyncio.sleep(self._dice.uniform(0.02, 0.06))
                if self._now == "outage":
                    raise ConnectionError("the payment provider does not answer")
        except (FlowRejected, ConnectionError):
            pass  # the order is kept, and paid later
