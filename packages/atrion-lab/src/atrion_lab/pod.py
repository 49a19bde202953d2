"""One process of a scenario: its policies, and a gate for each route."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from atrion_lab.cluster import Wire
from atrion_lab.needs import Wanted
from atrion_lab.policies.atrion import AtrionPolicy
from atrion_lab.policies.port import Policy
from atrion_lab.simulator import Gate, Pool

if TYPE_CHECKING:
    from atrion_lab.scenario import Calls, World

__all__ = ["Pod"]


class Pod:
    """One process: its policies, and a gate for each route."""

    def __init__(self, world: World, index: int, pools: Mapping[str, Pool]) -> None:
        self._world = world
        self.name: str = str(index)
        self.policies: list[tuple[str, Policy]] = []
        self._whole = self._span(index) if world.controller.spans else None
        if self._whole is not None:
            self.policies.append(("", self._whole))
            engine = getattr(self._whole, "engine", None)
            if engine is not None and world.accounts is not None:
                engine.observe(world.accounts)
        self.gates: dict[str, Gate] = {}
        for name in (*world.scenario.routes, *world.scenario.servers):
            self._gate(name, pools)

    def _span(self, index: int) -> Policy:
        world = self._world
        options: dict[str, Any] = {} if world.scenario.slo is None else {"slo": world.scenario.slo}
        options["pools"] = world.scenario.pools
        if world.network is None:
            return world.controller.make(**options)
        cluster = world.network.cluster
        skew = cluster.skew * world.rng("skew", index).uniform(-1.0, 1.0)
        wire = Wire(world.network, index)
        return world.controller.make(
            provider=wire,
            node=f"pod-{index}",
            skew=skew,
            source=lambda: world.simulation.now,
            interval=cluster.interval,
            **options,
        )

    def _gate(self, name: str, pools: Mapping[str, Pool], nested: bool = False, place: str = "") -> Gate:
        world = self._world
        place = place or name
        route = world.scenario.route(name)
        policy = self._whole or self._own(name)
        # What servers ask of each other is no client's request.
        recorder = world.inner if nested else world.recorder
        gate = Gate(world.simulation, name, policy, pools[route.server], recorder)
        calls = (route.calls,) if isinstance(route.calls, str) else route.calls or ()
        gate.wanted = tuple(
            self._wanted(each, pools, f"{place}/{at}", own=route.own) for at, each in enumerate(calls)
        )
        if not nested:
            self.gates[name] = gate
        return gate

    def _own(self, name: str) -> Policy:
        """A route's policy: one for all who ask, clients and other servers alike."""
        world = self._world
        for route, policy in self.policies:
            if route == name:
                return policy
        facts = world.scenario.facts(world.scenario.route(name).server)
        policy = world.controller.make(world.rng("policy", self.name, name), facts)
        self.policies.append((name, policy))
        return policy

    def _wanted(self, calls: Calls, pools: Mapping[str, Pool], place: str, *, own: bool) -> Wanted:
        if not isinstance(calls, str):
            return tuple(self._wanted(each, pools, f"{place}/{at}", own=own) for at, each in enumerate(calls))
        gate = self._gate(calls, pools, nested=True, place=place)
        if own:
            gate.draw = self._world.drawn(calls, place)
        return gate

    def engines(self) -> list[AtrionPolicy]:
        """The engines that pulse."""
        return [policy for _, policy in self.policies if isinstance(policy, AtrionPolicy)]
