"""A scenario as data, and the one function that plays it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random

from atrion.lab.clients import Clients, Request, Traffic
from atrion.lab.kernel import Gate, Pool, Simulation
from atrion.lab.metrics import Recorder, Run
from atrion.lab.policies.catalog import Controller
from atrion.lab.policies.port import Policy
from atrion.lab.services import Server

__all__ = ["Scenario", "simulate"]

SAMPLING = 0.05
"""Seconds between two samples of what the policies think: half a tick, so that no mode is missed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """What happens to which servers.

    Attributes:
        name: Its name on the command line.
        about: One line for people.
        seconds: Its length.
        window: The seconds from and to which its main numbers are taken.
        servers: Servers by name; the first one's capacity is what goodput is measured by.
        routes: Server behind each route; a server's own name is a route without being listed.
        traffic: Who asks.
    """

    name: str
    about: str
    seconds: float = 30.0
    window: tuple[float, float] = (10.0, 28.0)
    servers: Mapping[str, Server] = field(default_factory=lambda: {"api": Server()})
    routes: Mapping[str, str] = field(default_factory=dict)
    traffic: tuple[Traffic, ...] = ()

    @property
    def capacity(self) -> float:
        """Calls a second the first server can serve."""
        return next(iter(self.servers.values())).capacity


class _World:
    """The parts of one run, put together."""

    def __init__(self, scenario: Scenario, controller: Controller, seed: int) -> None:
        self.scenario = scenario
        self.controller = controller
        self.seed = seed
        self.simulation = Simulation()
        self.recorder = Recorder(scenario.seconds)
        self.policies: list[tuple[str, Policy]] = []
        self.pools = {name: Pool(self.simulation, server) for name, server in scenario.servers.items()}
        self._inner = Recorder(scenario.seconds)  # what servers ask of each other is no client's request
        self._pod = controller.make() if controller.spans else None
        if self._pod is not None:
            self.policies.append(("", self._pod))
        gates: dict[str, Gate] = {}
        for name in (*scenario.routes, *scenario.servers):
            gates[name] = self.gate(name, self.recorder)
        for name, server in scenario.servers.items():
            if server.calls is not None:
                self.pools[name].downstream = self.gate(server.calls, self._inner)
        for index, traffic in enumerate(scenario.traffic):
            self._connect(traffic, index, gates)
        self.simulation.at(0.0, self._sample)

    def dice(self, *purpose: object) -> Random:
        """Dice of their own for every purpose, so that policies meet the same requests."""
        return Random(f"{self.seed}/{purpose}")

    def gate(self, route: str, recorder: Recorder) -> Gate:
        """A gate in front of a route's server."""
        policy = self._pod
        if policy is None:
            policy = self.controller.make()
            self.policies.append((route, policy))
        return Gate(
            self.simulation, policy, self.pools[self.scenario.routes.get(route, route)], recorder, route
        )

    def _connect(self, traffic: Traffic, index: int, gates: Mapping[str, Gate]) -> None:
        first = self.scenario.routes.get(traffic.to[0], traffic.to[0])
        draw = self.scenario.servers[first].law.sampler(self.dice(index, "service"))
        Clients(
            self.simulation,
            traffic,
            self.recorder,
            draw,
            self._chooser(traffic, gates),
            lambda purpose: self.dice(index, purpose),
        )

    def _chooser(self, traffic: Traffic, gates: Mapping[str, Gate]) -> Callable[[Request], Gate]:
        gate = gates[traffic.to[0]]
        return lambda request: gate

    def _sample(self, _: object) -> None:
        now = self.simulation.now
        for route, policy in self.policies:
            sample = getattr(policy, "sample", None)
            if sample is not None:
                for name, parts in sample(now).items():
                    self.recorder.samples.append((now, "0", name or route, parts))
        self.simulation.at(now + SAMPLING, self._sample)


def simulate(scenario: Scenario, controller: Controller, seed: int) -> Run:
    """Play a scenario with one controller; the same seed gives the same requests and the same result."""
    world = _World(scenario, controller, seed)
    world.simulation.run(scenario.seconds)
    return Run.of(scenario.name, controller.name, seed, scenario.seconds, scenario.capacity, world.recorder)
