"""A scenario as data, and the one function that plays it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import cycle
from random import Random
from typing import TypeAlias

from atrion.physics.config import SLO
from atrion_lab.clients import Clients, Request, Traffic
from atrion_lab.cluster import Cluster, Network
from atrion_lab.ledger import Accounts
from atrion_lab.metrics import Recorder, Run
from atrion_lab.pod import Pod
from atrion_lab.policies.catalog import Controller
from atrion_lab.policies.common import Facts
from atrion_lab.services import Server
from atrion_lab.sharing import SharedPool
from atrion_lab.simulator import Gate, Pool, Simulation

__all__ = ["Calls", "Route", "Scenario", "World", "simulate"]

SAMPLING = 0.05
"""Seconds between two samples of what the policies think: half a tick, so that no mode is missed."""


Calls: TypeAlias = "str | tuple[Calls, ...]"


@dataclass(frozen=True, slots=True)
class Route:
    """A route to a ``server``; its calls need the answers of the routes ``calls`` and hold their worker meanwhile.

    Several are asked one after the other, those of a tuple in ``calls`` side by side. ``own`` lets each of them take
    the time that its own server's law draws; otherwise it takes as long as the call that needs it.
    """

    server: str
    calls: str | tuple[Calls, ...] | None = None
    own: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """What happens to which servers.

    Attributes:
        name: Its name on the command line.
        about: One line for people.
        seconds: Its length.
        window: The seconds from and to which its main numbers are taken.
        servers: Servers by name; the first one's capacity is what goodput is measured by.
        routes: Routes by name; a server's own name is a route without being listed.
        traffic: Who asks.
        cluster: The pods, or None for one process without a store.
        slo: What Atrion's routes promise, where the service is of another kind than most.
        pools: Bottleneck of each route that shares one, where whoever runs the service has named it to Atrion.
    """

    name: str
    about: str
    seconds: float = 30.0
    window: tuple[float, float] = (10.0, 28.0)
    servers: Mapping[str, Server] = field(default_factory=lambda: {"api": Server()})
    routes: Mapping[str, Route] = field(default_factory=dict)
    traffic: tuple[Traffic, ...] = ()
    cluster: Cluster | None = None
    slo: SLO | None = None
    pools: Mapping[str, str] = field(default_factory=dict)

    @property
    def capacity(self) -> float:
        """Calls a second that the first server can serve, in all pods together."""
        pods = 1 if self.cluster is None or self.cluster.shared else self.cluster.pods
        return pods * next(iter(self.servers.values())).capacity

    def route(self, name: str) -> Route:
        """The route of a name."""
        return self.routes.get(name) or Route(name)

    def facts(self, server: str) -> Facts:
        """What an operator knows of a server."""
        deadline = min((traffic.deadline for traffic in self.traffic), default=0.5)
        played = self.servers[server]
        return Facts(deadline=deadline, workers=played.workers, service=played.law.mean)


class World:
    """The parts of one run, put together."""

    def __init__(
        self, scenario: Scenario, controller: Controller, seed: int, accounts: Accounts | None = None
    ) -> None:
        self.scenario: Scenario = scenario
        self.controller: Controller = controller
        self.seed: int = seed
        self.simulation: Simulation = Simulation()
        self.accounts: Accounts | None = accounts
        self.recorder: Recorder = Recorder(scenario.seconds, None if accounts is None else accounts.clients)
        self.inner: Recorder = Recorder(scenario.seconds, None if accounts is None else accounts.inner)
        self.inner.routes = self.recorder.routes
        cluster = scenario.cluster
        self.network: Network | None = None
        if cluster is not None and cluster.connected:
            self.network = Network(self.simulation, cluster, self.rng("network"))
        self._pools = [self._servers()]
        if cluster is not None:
            self._pools += [
                self._pools[0] if cluster.shared else self._servers() for _ in range(cluster.pods - 1)
            ]
        self.pods: list[Pod] = [Pod(self, index, pools) for index, pools in enumerate(self._pools)]
        self._turn = cycle(range(len(self.pods)))
        for index, traffic in enumerate(scenario.traffic):
            self._connect(traffic, index)

    def _servers(self) -> dict[str, Pool]:
        fifo = self.controller.fifo
        return {
            name: SharedPool(self.simulation, server)
            if server.shared and not fifo
            else Pool(self.simulation, server)
            for name, server in self.scenario.servers.items()
        }

    def drawn(self, name: str, place: str) -> Callable[[float], float]:
        """The work of the calls that others' calls need: by their luck, whatever was drawn before them."""
        rng = Random()
        draw = self.scenario.servers[self.scenario.route(name).server].law.sampler(rng)

        def work(luck: float) -> float:
            rng.seed(f"{self.seed}/{place}/{luck}")
            return draw()

        return work

    def rng(self, *purpose: object) -> Random:
        """A random generator for each purpose, so that policies meet the same requests."""
        return Random(f"{self.seed}/{purpose}")

    def start(self) -> None:
        """Plan what happens by itself."""
        if self.accounts is None or self.accounts.sampled:
            self.simulation.at(0.0, self._sample)
        if self.network is None:
            return
        for pod in self.pods:
            self._join(pod)
        cluster = self.network.cluster
        if cluster.active is not None:
            self.simulation.at(cluster.settled, self._settle, cluster.active)
        if cluster.leaves is not None:
            self.simulation.at(cluster.leaves[1], self._leave, self.pods[cluster.leaves[0]])
        if cluster.restart is not None:
            for index in range(cluster.pods):
                self.simulation.at((index + 1) * cluster.restart, self._restart, index)

    def _settle(self, active: int) -> None:
        self._turn = cycle(range(active))

    def _join(self, pod: Pod) -> None:
        for policy in pod.engines():
            assert self.network is not None
            self.network.join(policy.engine)

    def _leave(self, pod: Pod) -> None:
        for policy in pod.engines():
            assert self.network is not None
            self.network.leave(policy.engine)

    def _restart(self, index: int) -> None:
        """A new process takes the pod's place; what the old one had admitted still ends there."""
        self._leave(self.pods[index])
        self.pods[index] = Pod(self, index, self._pools[index])
        self._join(self.pods[index])

    def _connect(self, traffic: Traffic, index: int) -> None:
        law = self.scenario.servers[self.scenario.route(traffic.to[0]).server].law
        sampler = law.sampler(self.rng(index, "service"))
        draw = sampler if traffic.work == 1.0 else lambda: traffic.work * sampler()
        chooser = self._chooser(traffic, self.rng(index, "route"))
        Clients(
            self.simulation, traffic, self.recorder, draw, chooser, lambda purpose: self.rng(index, purpose)
        )

    def _chooser(self, traffic: Traffic, rng: Random) -> Callable[[Request], Gate]:
        """A request's gate: pods take turns; among routes a policy that can choose does, else chance."""
        pods, to = self.pods, traffic.to
        only = to[0]
        if len(to) == 1:
            return lambda _: pods[next(self._turn)].gates[only]

        def choose(_: Request) -> Gate:
            pod = pods[next(self._turn)]
            chooser = getattr(pod.policies[0][1], "choose", None)
            chance = rng.choice(to)
            return pod.gates[chance if chooser is None else chooser(to, self.simulation.now)]

        return choose

    def _sample(self, _: object) -> None:
        now = self.simulation.now
        for pod in self.pods:
            for route, policy in pod.policies:
                sample = getattr(policy, "sample", None)
                if sample is not None:
                    for name, parts in sample(now).items():
                        self.recorder.samples.append((now, pod.name, name or route, parts))
        self.simulation.at(now + SAMPLING, self._sample)


def simulate(
    scenario: Scenario,
    controller: Controller,
    seed: int,
    tell: Callable[[float], None] | None = None,
    accounts: Accounts | None = None,
) -> Run:
    """Play a scenario with one controller; the same seed gives the same requests and the same result.

    ``tell`` hears the share that is done; ``accounts`` are filled.
    """
    world = World(scenario, controller, seed, accounts)
    with ExitStack() as stack:
        if world.network is not None:
            stack.enter_context(world.network.quiet())
        world.start()
        steps = 1 if tell is None else 50
        for step in range(1, steps + 1):
            world.simulation.run(scenario.seconds * step / steps)
            if tell is not None:
                tell(step / steps)
    if accounts is not None:
        accounts.close(scenario.seconds)
    return Run.of(scenario.name, controller.name, seed, scenario.seconds, scenario.capacity, world.recorder)
