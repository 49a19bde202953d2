"""Many pods with one engine each, around one store."""

from __future__ import annotations

from atrion_lab.arrivals import Poisson
from atrion_lab.clients import Traffic
from atrion_lab.cluster import Cluster
from atrion_lab.scenario import Scenario
from atrion_lab.scenarios.faults import dependency
from atrion_lab.services import Phase, Server

__all__ = ["CLUSTERS"]

DEATH = Phase(start=10.0, fail=1.0, fail_after=0.005)


def _dependency(name: str, about: str, cluster: Cluster, *phases: Phase, seconds: float = 25.0) -> Scenario:
    return Scenario(
        name=name,
        about=about,
        seconds=seconds,
        window=(11.0, min(seconds - 1.0, 20.0)),
        servers={"db": dependency(*phases)},
        traffic=(Traffic(arrivals=Poisson(400.0), to=("db",)),),
        cluster=cluster,
    )


def _servers(name: str, about: str, cluster: Cluster, factor: float, seconds: float = 25.0) -> Scenario:
    server = Server()
    return Scenario(
        name=name,
        about=about,
        seconds=seconds,
        window=(8.0, seconds - 1.0),
        servers={"api": server},
        traffic=(Traffic(arrivals=Poisson(factor * cluster.pods * server.capacity)),),
        cluster=cluster,
    )


CLUSTERS = (
    _dependency(
        "cluster-outage",
        "100 pods share a dependency that dies; only one of them is active and sees it",
        Cluster(pods=100, active=1),
        DEATH,
        seconds=15.0,
    ),
    _dependency(
        "cluster-partition",
        "10 pods; half of them cannot reach the store from 5 to 15 s, the dependency is dead from 10 to 20 s",
        Cluster(pods=10, apart=(5.0, 15.0, 0.5)),
        DEATH,
        Phase(start=20.0),
    ),
    _dependency(
        "cluster-lossy",
        "10 pods, slow and lossy messages, clocks a minute apart; the dependency is dead from 10 to 20 s",
        Cluster(pods=10, delay=0.05, loss=0.2, skew=60.0),
        DEATH,
        Phase(start=20.0),
    ),
    _dependency(
        "dead-row",
        "10 pods; one of them leaves at the worst moment of an outage, and its row stays behind",
        Cluster(pods=10, leaves=(0, 14.9)),
        DEATH,
        Phase(start=15.0),
    ),
    _servers("healthy-pods", "10 pods at 0.8 of their capacity", Cluster(pods=10, shared=False), 0.8),
    _servers(
        "poisoned-pod",
        "the same, beside a broken node that claims the worst scar there is",
        Cluster(pods=10, shared=False, poisoned=True),
        0.8,
    ),
    _servers(
        "rolling-restart",
        "6 pods at twice their capacity, one of them restarted every 4 seconds",
        Cluster(pods=6, shared=False, restart=4.0),
        2.0,
        30.0,
    ),
)
