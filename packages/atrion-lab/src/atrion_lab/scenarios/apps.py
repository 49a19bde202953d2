"""Whole applications: several routes, and what matters in their business."""

from __future__ import annotations

from dataclasses import replace

from atrion.physics.config import SLO
from atrion_lab.arrivals import Closed, Poisson, Profile
from atrion_lab.clients import Traffic
from atrion_lab.scenario import Route, Scenario
from atrion_lab.services import LogNormal, Phase, Server

__all__ = ["APPS", "MODELS"]

ONLY = {
    "bulk": (1.0, 0.0, 0.0, 0.0, 0.0),
    "low": (0.0, 1.0, 0.0, 0.0, 0.0),
    "normal": (0.0, 0.0, 1.0, 0.0, 0.0),
    "high": (0.0, 0.0, 0.0, 1.0, 0.0),
    "critical": (0.0, 0.0, 0.0, 0.0, 1.0),
}
DATABASE = Server(workers=20, law=LogNormal(0.05, 0.5))
MODELS = {"large": (10.0, 1.0), "medium": (3.0, 0.85), "small": (1.0, 0.7)}
"""Cost (of the smallest one's) and quality of each model's answers."""


def _sale(share: float) -> Profile:
    """Part of a shop's traffic: half of what the database carries, and five times it while the sale lasts."""
    rate = share * DATABASE.capacity
    return Profile(((0.0, 0.5 * rate), (20.0, 5.0 * rate), (60.0, 0.5 * rate)))


BLACK_FRIDAY = Scenario(
    name="black-friday",
    about="checkout, search and recommendations share one database; the sale brings five times its capacity",
    seconds=80.0,
    window=(25.0, 60.0),
    servers={"database": DATABASE},
    routes={name: Route("database") for name in ("checkout", "search", "recommendations")},
    traffic=(
        Traffic(arrivals=_sale(0.1), to=("checkout",), mix=ONLY["critical"]),
        Traffic(arrivals=_sale(0.5), to=("search",), mix=ONLY["normal"]),
        Traffic(arrivals=_sale(0.4), to=("recommendations",), mix=ONLY["bulk"]),
    ),
    pools=dict.fromkeys(("checkout", "search", "recommendations"), "database"),
)

APPS = (
    BLACK_FRIDAY,
    replace(
        BLACK_FRIDAY,
        name="black-friday-unnamed",
        about="the same, with nobody having told Atrion that the three share a database",
        pools={},
    ),
    Scenario(
        name="microservice-domino",
        about="orders need payments, payments need a ledger, which is 20 times slower for 30 seconds; the home "
        "page needs only the web server's workers",
        seconds=80.0,
        window=(25.0, 50.0),
        servers={
            "web": Server(workers=32, law=LogNormal(0.02, 0.5)),
            "payments-pool": Server(workers=32, law=LogNormal(0.02, 0.5)),
            "ledger": Server(
                workers=16,
                law=LogNormal(0.02, 0.5),
                phases=(Phase(start=20.0, slow=20.0), Phase(start=50.0)),
            ),
        },
        routes={
            "home": Route("web"),
            "orders": Route("web", calls="payments"),
            "payments": Route("payments-pool", calls="ledger"),
        },
        traffic=(
            Traffic(arrivals=Poisson(300.0), to=("home",), mix=ONLY["normal"]),
            Traffic(arrivals=Poisson(200.0), to=("orders",), mix=ONLY["high"]),
        ),
    ),
    Scenario(
        name="ddos-tarpit",
        about="400 hostile keys ask again as soon as they are answered; a rejection costs 1% of a service",
        seconds=40.0,
        window=(10.0, 38.0),
        servers={"api": Server(reject_cost=0.01)},
        traffic=(
            Traffic(arrivals=Poisson(192.0), mix=(0.0, 0.0, 0.7, 0.2, 0.1)),
            Traffic(arrivals=Closed(400, 0.05), mix=ONLY["bulk"], keys=400, tarpit=True),
        ),
    ),
    Scenario(
        name="llm-router",
        about="three models of different cost and quality; the large one is sick for a minute",
        seconds=180.0,
        window=(65.0, 120.0),
        servers={
            "large": Server(
                workers=40,
                law=LogNormal(4.0, 0.4),
                phases=(Phase(start=60.0, slow=6.0, fail=0.3), Phase(start=120.0)),
            ),
            "medium": Server(workers=40, law=LogNormal(2.0, 0.4)),
            "small": Server(workers=40, law=LogNormal(1.0, 0.4)),
        },
        traffic=(Traffic(arrivals=Poisson(15.0), to=tuple(MODELS), deadline=15.0),),
        slo=SLO(latency=15.0),
    ),
    Scenario(
        name="iot-sampling",
        about="sensors send six times what can be stored: readings may be sampled, alarms may not be lost",
        seconds=30.0,
        window=(8.0, 28.0),
        servers={"ingest": Server(workers=8, law=LogNormal(0.01, 0.5))},
        traffic=(
            Traffic(arrivals=Poisson(4700.0), to=("ingest",), mix=ONLY["bulk"], keys=0),
            Traffic(arrivals=Poisson(100.0), to=("ingest",), mix=ONLY["critical"], keys=0),
        ),
    ),
    Scenario(
        name="game-lod",
        about="a game server at twice its capacity of full detail; less detail takes less work",
        seconds=30.0,
        window=(8.0, 28.0),
        servers={"world": Server(workers=8, law=LogNormal(0.02, 0.3))},
        traffic=(Traffic(arrivals=Poisson(800.0), to=("world",), mix=ONLY["normal"], deadline=0.2, steps=4),),
    ),
)
