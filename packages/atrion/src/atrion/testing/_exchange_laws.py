"""Laws of sharing: every store returns the mean over the other nodes that :mod:`atrion.state.blending` defines."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Mapping
from typing import Any

from atrion.engine import Atrion
from atrion.sensing import Telemetry
from atrion.state import (
    ClusterScar,
    NodeRow,
    blend,
    cluster_scar,
)
from atrion.state.blending import JUMP, LIVE_EVIDENCE
from atrion.testing.bench import Bench, ContractError, Law, expect, law, vector
from atrion.testing.clock import VirtualClock

__all__ = ["EXCHANGE_LAWS"]

EXCHANGE_LAWS: list[Law] = []

ROUNDING = 0.01
"""Relative error by which a store may round its sums."""
NOTHING = ClusterScar(0.0, 0.0)


def row(scar: float, evidence: float = 10.0, decay_rate: float = 0.0) -> NodeRow:
    """A node's row: its scar in ohms and its evidence."""
    return NodeRow(vector(scar), evidence, decay_rate)


class Node:
    """One node with a provider of its own, which records when it sent which row."""

    def __init__(self, bench: Bench, name: str, provider: Any) -> None:
        self.bench = bench
        self.name = name
        self.provider = provider
        self.said: dict[str, tuple[NodeRow, float, float]] = {}

    @classmethod
    async def join(cls, bench: Bench, name: str) -> Node:
        """A node that has just connected."""
        return cls(bench, name, await bench.open())

    async def exchange(self, rows: Mapping[str, NodeRow], routes: list[str]) -> dict[str, ClusterScar]:
        """Send ``rows`` and read ``routes``."""
        before = self.bench.now()
        answer = await self.bench.ask(self.provider.exchange(self.name, rows, routes), "exchange()")
        for route, said in rows.items():
            self.said[route] = (said, before, self.bench.now())
        expect(isinstance(answer, Mapping), f"exchange must return a mapping, not {type(answer)}")
        for route, scar in answer.items():
            expect(route in routes, f"exchange must answer what was asked, and answered {route!r}")
            sane = isinstance(scar, ClusterScar) and scar.is_sane()
            expect(sane, f"exchange must return sane ClusterScar, not {scar!r}")
        return dict(answer)

    async def hears(self, route: str, *others: Node) -> None:
        """Read as a node that has just connected, and compare with the mean over ``others``."""
        asked = self.bench.now()
        answer = (await self.exchange({}, [route])).get(route, NOTHING)
        self.compare(route, answer, asked, *others)

    def compare(self, route: str, answer: ClusterScar, asked: float, *others: Node) -> None:
        """Compare ``answer`` with the mean over ``others`` for every age that their rows may have had."""
        now = self.bench.now()
        ages = []
        for other in others:
            said, before, after = other.said[route]
            ages.append([(said, max(asked - after, 0.0)), (said, now - before)])
        means = [cluster_scar(corner) for corner in itertools.product(*ages)]
        for seen, wanted, what, slack in (
            (answer.evidence, [mean.evidence for mean in means], "evidence", 0.01),
            (answer.scar, [mean.scar for mean in means], "scar", 0.01),
        ):
            low, high = min(wanted) * (1.0 - ROUNDING) - slack, max(wanted) * (1.0 + ROUNDING) + slack
            if not low <= seen <= high:
                raise ContractError(
                    f"node {self.name} must hear from {[other.name for other in others]} of {route!r} a cluster "
                    f"{what} of {low:.4g} to {high:.4g}, and heard {seen:.6g}"
                )


async def _three(bench: Bench) -> tuple[Node, Node, Node]:
    return await Node.join(bench, "a"), await Node.join(bench, "b"), await Node.join(bench, "c")


@law(EXCHANGE_LAWS, "exchange")
async def others_are_heard_weighed_by_their_evidence(bench: Bench) -> None:
    a, b, c = await _three(bench)
    await a.exchange({"r": row(10.0, 30.0)}, ["r"])
    await b.exchange({"r": row(2.0, 10.0)}, ["r"])
    await c.hears("r", a, b)


@law(EXCHANGE_LAWS, "exchange")
async def the_rfcs_example_gives_its_number(bench: Bench) -> None:
    a, b, _ = await _three(bench)
    await a.exchange({"r": row(5.0)}, ["r"])
    answer = await b.exchange({"r": row(2.0)}, ["r"])
    heard = answer.get("r", NOTHING)
    seen = blend(2.0, heard.scar, 0.3)
    expect(abs(seen - 2.9) < 0.03, f"local 2.0 and remote 5.0 at γ 0.3 must give 2.9, and give {seen}")


@law(EXCHANGE_LAWS, "exchange")
async def ones_own_rows_do_not_count(bench: Bench) -> None:
    a = await Node.join(bench, "a")
    first = await a.exchange({"r": row(9.0)}, ["r"])
    second = await a.exchange({"r": row(8.0)}, ["r"])
    for answer in (first, second):
        heard = answer.get("r", NOTHING)
        expect(heard.evidence < LIVE_EVIDENCE, f"a node alone must hear nothing, and heard {heard} of itself")
    b = await Node.join(bench, "b")
    asked = bench.now()
    answer = await b.exchange({"r": row(2.0)}, ["r"])
    b.compare("r", answer.get("r", NOTHING), asked, a)


@law(EXCHANGE_LAWS, "exchange")
async def a_new_row_takes_the_place_of_the_old(bench: Bench) -> None:
    a, b, c = await _three(bench)
    await b.exchange({"r": row(1.0)}, [])
    for scar, evidence in ((50.0, 90.0), (20.0, 10.0), (3.0, 40.0)):
        await a.exchange({"r": row(scar, evidence)}, [])
    await c.hears("r", a, b)


@law(EXCHANGE_LAWS, "exchange")
async def what_changed_is_told_and_what_did_not_may_be_left_out(bench: Bench) -> None:
    a, b, _ = await _three(bench)
    await b.exchange({"r": row(5.0), "s": row(1.0)}, [])
    asked = bench.now()
    first = await a.exchange({}, ["r", "s"])
    a.compare("r", first.get("r", NOTHING), asked, b)
    asked = bench.now()
    second = await a.exchange({}, ["r", "s"])
    if "r" in second:
        a.compare("r", second["r"], asked, b)
    await b.exchange({"r": row(30.0)}, [])
    asked = bench.now()
    third = await a.exchange({}, ["r", "s"])
    expect("r" in third, "a route that another node changed must be answered by the next exchange")
    a.compare("r", third["r"], asked, b)


@law(EXCHANGE_LAWS, "exchange")
async def after_connecting_everything_counts_as_changed(bench: Bench) -> None:
    a, b, _ = await _three(bench)
    await b.exchange({"r": row(5.0)}, [])
    await a.exchange({}, ["r"])
    await bench.ask(a.provider.disconnect(), "disconnect()")
    await bench.ask(a.provider.connect(), "connect()")
    asked = bench.now()
    answer = await a.exchange({}, ["r"])
    expect("r" in answer, "after a reconnect, exchange must answer every route that others know")
    a.compare("r", answer["r"], asked, b)


@law(EXCHANGE_LAWS, "exchange")
async def scars_and_evidence_fade_with_age(bench: Bench) -> None:
    a, b, c = await _three(bench)
    await a.exchange({"r": row(80.0, 40.0, 2.0)}, [])
    await bench.sleep(0.4)
    await b.exchange({"r": row(40.0, 10.0, 2.0)}, [])
    await bench.sleep(0.2)
    await c.hears("r", a, b)


@law(EXCHANGE_LAWS, "exchange")
async def silence_carries_no_weight(bench: Bench) -> None:
    a, b, c = await _three(bench)
    await a.exchange({"r": row(5.0, 0.0), "quiet": row(5.0, 0.0)}, [])
    await b.exchange({"r": row(8.0, 10.0)}, [])
    asked = bench.now()
    answer = await c.exchange({}, ["r", "quiet"])
    c.compare("r", answer.get("r", NOTHING), asked, b)
    quiet = answer.get("quiet", NOTHING)
    expect(quiet.evidence < LIVE_EVIDENCE, f"a row without evidence must carry no weight, and gave {quiet}")


@law(EXCHANGE_LAWS, "exchange")
async def one_node_cannot_speak_for_everybody(bench: Bench) -> None:
    a, b, c = await _three(bench)
    await a.exchange({"r": row(1e6, 1e9)}, [])
    await b.exchange({"r": row(0.0, 100.0)}, [])
    await c.hears("r", a, b)


@law(EXCHANGE_LAWS, "exchange")
async def a_route_nobody_knows_has_no_say(bench: Bench) -> None:
    a = await Node.join(bench, "a")
    expect(not await a.exchange({}, []), "exchange of nothing must answer nothing")
    heard = (await a.exchange({}, ["cold"])).get("cold", NOTHING)
    expect(heard.evidence < LIVE_EVIDENCE, f"a cold route must have no evidence, and has {heard}")


@law(EXCHANGE_LAWS, "exchange")
async def other_stores_have_no_say(bench: Bench) -> None:
    a = await Node.join(bench, "a")
    stranger = Node(bench, "b", await bench.open(bench.store + "-other"))
    await stranger.exchange({"r": row(50.0)}, [])
    heard = (await a.exchange({}, ["r"])).get("r", NOTHING)
    expect(heard.evidence < LIVE_EVIDENCE, f"another store's nodes must have no say, and gave {heard}")


@law(EXCHANGE_LAWS, "exchange")
async def a_row_is_a_routes_vector_too(bench: Bench) -> None:
    a, b, _ = await _three(bench)
    await a.exchange({"r": row(5.0)}, [])
    found = await bench.ask(b.provider.get_vector("r"), "get_vector")
    expect(
        found == vector(5.0), f"get_vector must know what was exchanged, {vector(5.0)}, and returned {found}"
    )


@law(EXCHANGE_LAWS, "recall")
async def a_node_recalls_its_own_rows_before_anybodys(bench: Bench) -> None:
    a = await Node.join(bench, "a")
    if not hasattr(a.provider, "exchange"):
        return  # such a store does not distinguish nodes
    b = await Node.join(bench, "b")
    await a.exchange({"r": row(5.0)}, [])
    await b.exchange({"r": row(9.0), "s": row(3.0)}, [])
    await bench.ask(a.provider.disconnect(), "disconnect()")
    again = await bench.open()
    found = await bench.ask(again.recall("a", 10), "recall()")
    kept = {route: remembered.vector.scar_tissue for route, remembered in found.items()}
    expect(
        kept.get("r") == 5.0, f"recall must return a node's own row (scar 5.0) where it has one; got {kept}"
    )
    expect(kept.get("s") == 3.0, f"recall must return anybody's row (scar 3.0) where it has none; got {kept}")


@law(EXCHANGE_LAWS, "listen")
async def listeners_hear_at_once_when_anothers_scar_jumps(bench: Bench) -> None:
    a, b, _ = await _three(bench)
    heard: list[tuple[str, ClusterScar]] = []
    own: list[tuple[str, ClusterScar]] = []
    end = b.provider.listen("b", lambda route, scar: heard.append((route, scar)))
    a.provider.listen("a", lambda route, scar: own.append((route, scar)))
    b.provider.listen("b2", _raises)
    await a.exchange({"r": row(1.0)}, ["r"])
    asked = bench.now()
    await a.exchange({"r": row(1.0 + 5.0 * JUMP)}, ["r"])
    jump = f"a scar that jumps by more than {JUMP} Ω must reach the other nodes' listeners"
    await bench.until(lambda: bool(heard), jump)
    route, scar = heard[-1]
    expect(route == "r", f"a listener must hear which route it is, and heard {route!r}")
    b.compare("r", scar, asked, a)
    expect(not own, f"a node must not hear its own news, and heard {own}")
    end()
    end()
    heard.clear()
    others: list[str] = []
    b.provider.listen("b3", lambda route, _: others.append(route))
    await a.exchange({"r": row(1.0 + 20.0 * JUMP)}, ["r"])
    await bench.until(lambda: bool(others), jump)
    expect(not heard, "a listener that has ended must hear nothing")


def _raises(route: str, scar: ClusterScar) -> None:
    raise RuntimeError(f"a listener of the contract kit raises on purpose at {route}, {scar}")


# --- the engine on top -----------------------------------------------------------------------------------


@law(EXCHANGE_LAWS)
async def one_engines_scar_raises_anothers_resistance(bench: Bench) -> None:
    clock = VirtualClock()
    one, two = (Atrion(provider=bench.new(), node=name, gamma=0.5, clock=clock) for name in ("one", "two"))
    for engine in (one, two) * 3:
        clock.advance(0.1)
        engine.update_physics("r", Telemetry(latency=0.01, error_rate=0.0))
        expect(await bench.ask(engine.pulse_once(), "a pulse"), "a pulse over the provider must work")
    before = two.snapshot()["r"].resistance
    one.restore("r", vector(60.0), 0.0)
    rise = 0.0
    end = time.monotonic() + bench.patience
    while rise <= 15.0 and time.monotonic() < end:
        for engine in (one, two):
            await bench.ask(engine.pulse_once(), "a pulse")
        await asyncio.sleep(0.002)  # a change may arrive without a pulse
        rise = two.snapshot()["r"].resistance - before
    expect(
        rise > 15.0, f"a scar of 60 Ω must raise another engine's resistance by about 30 Ω; it rose by {rise}"
    )
    for engine in (one, two):
        expect(engine.state.failures == 0, "a pulse must not fail")
        expect(engine.state.dropped_rows == 0, "no answer may be invalid")
