"""Laws of the four required methods, of subscribing, and of the optional protocols for recall and listing."""

from __future__ import annotations

import asyncio
from typing import Any

from atrion.state import ClusterSync, Finding, NodeRow, PhysicsVector, Remembered
from atrion.testing.bench import Bench, Law, expect, law, vector

__all__ = ["PORT_LAWS"]

PORT_LAWS: list[Law] = []

ODD_ROUTES = [
    "a",
    "A",
    "a/b",
    "a/../b",
    "../a",
    "..",
    "a%2Fb",
    "a b",
    "a:b",
    "a.b",
    "{a}",
    "a*",
    "a\nb",
    "a\\0b",
    "a\x00b",
    "ohm → Ω 🌊",
    "e\u0301",
    "\u00e9",
    "\ud800",
    "x" * 256,
    "Ω" * 256,
]
"""Every string of 1 to 256 characters is a route id; these are the ones most easily confused."""


@law(PORT_LAWS)
async def a_route_never_written_is_none(bench: Bench) -> None:
    provider = await bench.open()
    found = await bench.ask(provider.get_vector("cold"), "get_vector of a cold route")
    expect(found is None, f"get_vector of a cold route must return None, and returned {found!r}")


@law(PORT_LAWS)
async def what_is_written_is_read_back_exactly(bench: Bench) -> None:
    provider = await bench.open()
    for written in (vector(), PhysicsVector(0.0, 0.0, 0.0, 0.0), PhysicsVector(1e6, 1e-300, 1 / 3, 1e17)):
        await bench.ask(provider.update_vector("r", written), "update_vector")
        found = await bench.ask(provider.get_vector("r"), "get_vector")
        expect(
            found == written, f"the latest vector must come back as it went: wrote {written}, read {found}"
        )
        expect(isinstance(found, PhysicsVector), f"get_vector must return a PhysicsVector, not {type(found)}")


@law(PORT_LAWS)
async def routes_are_told_apart_whatever_their_names(bench: Bench) -> None:
    provider = await bench.open()
    for number, route in enumerate(ODD_ROUTES):
        await bench.ask(provider.update_vector(route, vector(float(number))), f"update_vector({route!r})")
    for number, route in enumerate(ODD_ROUTES):
        found = await bench.ask(provider.get_vector(route), f"get_vector({route!r})")
        wanted = vector(float(number))
        expect(found == wanted, f"route {route!r} must keep its own vector {wanted}, and has {found}")


@law(PORT_LAWS)
async def stores_of_other_names_are_not_reached(bench: Bench) -> None:
    one, other = await bench.open(), await bench.open(bench.store + "-other")
    await bench.ask(one.update_vector("r", vector(5.0)), "update_vector")
    found = await bench.ask(other.get_vector("r"), "get_vector in another store")
    expect(found is None, f"another store must know nothing of this one's routes, and has {found}")
    await bench.ask(other.update_vector("r", vector(2.0)), "update_vector in another store")
    found = await bench.ask(one.get_vector("r"), "get_vector")
    expect(found == vector(5.0), f"another store must not change this one's routes; there is now {found}")


@law(PORT_LAWS)
async def providers_of_one_store_see_each_other(bench: Bench) -> None:
    one, other = await bench.open(), await bench.open()
    await bench.ask(one.update_vector("r", vector(5.0)), "update_vector")
    found = await bench.ask(other.get_vector("r"), "get_vector by another provider")
    expect(
        found == vector(5.0), f"a second provider of the same store must read {vector(5.0)}, and read {found}"
    )


@law(PORT_LAWS)
async def many_calls_at_once_do_not_mix(bench: Bench) -> None:
    provider = await bench.open()

    async def one(number: int) -> None:
        for turn in range(3):
            await bench.keeps(provider, f"r{number}", float(number + turn), "among many calls at once")

    await asyncio.gather(*(one(number) for number in range(40)))


@law(PORT_LAWS, "update_vectors")
async def a_batch_is_kept_whole(bench: Bench) -> None:
    provider = await bench.open()
    await bench.ask(provider.update_vectors({}), "update_vectors of nothing")
    written = {f"r{number}": vector(float(number)) for number in range(1000)}
    await bench.ask(provider.update_vectors(written), "update_vectors of 1000 routes")
    for route in ("r0", "r499", "r999"):
        found = await bench.ask(provider.get_vector(route), "get_vector")
        expect(found == written[route], f"a batch must be kept whole: {route} has {found}")
    odd = {route: vector(float(number)) for number, route in enumerate(ODD_ROUTES)}
    await bench.ask(provider.update_vectors(odd), "update_vectors of odd names")
    for route, wanted in odd.items():
        found = await bench.ask(provider.get_vector(route), "get_vector")
        expect(found == wanted, f"route {route!r} of a batch must keep its own vector, and has {found}")


# --- subscribing -----------------------------------------------------------------------------------------


@law(PORT_LAWS, "subscribe")
async def subscribers_hear_every_change_of_their_route(bench: Bench) -> None:
    writer, reader = await bench.open(), await bench.open()
    first: list[PhysicsVector] = []
    second: list[PhysicsVector] = []
    other: list[PhysicsVector] = []
    reader.subscribe("r", first.append)
    reader.subscribe("r", second.append)
    reader.subscribe("other", other.append)
    await bench.ask(writer.update_vector("r", vector(5.0)), "update_vector")
    await bench.until(lambda: vector(5.0) in first and vector(5.0) in second, "all subscribers must hear")
    await bench.ask(writer.update_vector("other", vector(2.0)), "update_vector")
    await bench.until(lambda: vector(2.0) in other, "the subscriber of another route must hear of it")
    expect(vector(2.0) not in first, "a subscriber must hear of its own route only")
    expect(vector(5.0) not in other, "a subscriber must hear of its own route only")


@law(PORT_LAWS, "subscribe")
async def a_subscription_ends_alone_and_ends_once(bench: Bench) -> None:
    provider = await bench.open()
    gone: list[PhysicsVector] = []
    stays: list[PhysicsVector] = []
    end = provider.subscribe("r", gone.append)
    provider.subscribe("r", stays.append)
    end()
    end()
    await bench.ask(provider.update_vector("r", vector(5.0)), "update_vector")
    await bench.until(lambda: vector(5.0) in stays, "the subscriber that stays must hear")
    expect(not gone, f"a subscription that has ended must hear nothing, and heard {gone}")


@law(PORT_LAWS, "subscribe")
async def a_subscriber_that_raises_harms_nobody(bench: Bench) -> None:
    provider = await bench.open()
    heard: list[PhysicsVector] = []

    def broken(_: PhysicsVector) -> None:
        raise RuntimeError("a subscriber of the contract kit raises on purpose")

    provider.subscribe("r", broken)
    provider.subscribe("r", heard.append)
    for scar in (5.0, 6.0):
        await bench.ask(provider.update_vector("r", vector(scar)), "update_vector beside a broken subscriber")
        await bench.until(lambda: vector(scar) in heard, "the others must hear beside a broken subscriber")  # noqa: B023  # awaited within the turn


@law(PORT_LAWS, "subscribe")
async def a_subscription_outlives_another_connect(bench: Bench) -> None:
    provider = await bench.open()
    heard: list[PhysicsVector] = []
    provider.subscribe("r", heard.append)
    await bench.ask(provider.disconnect(), "disconnect()")
    await bench.ask(provider.connect(), "connect() again")
    await bench.ask(provider.update_vector("r", vector(5.0)), "update_vector")
    await bench.until(lambda: vector(5.0) in heard, "a subscription must go on after a reconnect")


# --- recalling and listing -------------------------------------------------------------------------------


@law(PORT_LAWS, "recall")
async def what_was_kept_is_recalled_with_its_age(bench: Bench) -> None:
    writer = await bench.open()
    began = bench.now()
    for route, scar in (("low", 1.0), ("high", 9.0), ("mid", 5.0)):
        await bench.ask(writer.update_vector(route, vector(scar)), "update_vector")
    written = bench.now()
    await bench.ask(writer.disconnect(), "disconnect()")
    await bench.sleep(0.3)
    reader = await bench.open()
    asked = bench.now()
    found = await bench.ask(reader.recall("node", 10), "recall()")
    oldest = bench.now() - began
    expect(
        set(found) == {"low", "mid", "high"}, f"recall must know all that was kept, and knows {set(found)}"
    )
    for route, scar in (("low", 1.0), ("high", 9.0), ("mid", 5.0)):
        kept: Any = found[route]
        expect(
            isinstance(kept, Remembered) and kept.is_sane(),
            f"recall must return sane Remembered, not {kept!r}",
        )
        expect(kept.vector == vector(scar), f"recall must return {vector(scar)}, and returned {kept.vector}")
        young, old = asked - written - 0.02, oldest + 0.02
        expect(young <= kept.age <= old, f"the age must be {young:.3f} to {old:.3f} s, and is {kept.age}")
    few = await bench.ask(reader.recall("node", 2), "recall() with a limit")
    expect(
        set(few) == {"high", "mid"},
        f"recall of two must return the most scarred two, and returned {set(few)}",
    )


@law(PORT_LAWS, "recall")
async def nothing_is_recalled_from_an_empty_store(bench: Bench) -> None:
    provider = await bench.open()
    found = await bench.ask(provider.recall("node", 10), "recall() of an empty store")
    expect(not found, f"recall of an empty store must be empty, and is {found!r}")


@law(PORT_LAWS, "list_routes")
async def what_is_kept_is_listed_within_the_limit(bench: Bench) -> None:
    provider: Any = await bench.open()
    names = {f"r{number}" for number in range(20)}
    for name in sorted(names):
        await bench.ask(provider.update_vector(name, vector()), "update_vector")
    listed = await bench.ask(provider.list_routes(1000), "list_routes()")
    expect(set(listed) == names, f"list_routes must name every route once, and named {sorted(listed)}")
    expect(len(listed) == len(names), "list_routes must name every route once")
    few = await bench.ask(provider.list_routes(5), "list_routes(5)")
    expect(len(few) == 5 and set(few) <= names, f"list_routes(5) must name five routes, and named {few}")
    sharing: object = provider
    if isinstance(sharing, ClusterSync):
        row = NodeRow(vector(), 10.0, 0.0)
        await bench.ask(sharing.exchange("node-1", {"r0": row}, []), "exchange()")
        nodes = await bench.ask(provider.list_nodes(), "list_nodes()")
        expect(
            list(nodes) == ["node-1"], f"list_nodes must name the one node that exchanged, and named {nodes}"
        )


@law(PORT_LAWS, "diagnose")
async def a_diagnosis_is_made_connected_or_not(bench: Bench) -> None:
    for provider in (bench.new(), await bench.open()):
        found = await bench.ask(provider.diagnose(), "diagnose()")
        expect(bool(found), "diagnose must say something")
        for finding in found:
            expect(isinstance(finding, Finding), f"diagnose must return findings, not {finding!r}")
            expect(
                finding.level in {"good", "note", "bad"} and bool(finding.check and finding.detail),
                f"a finding must say what was looked at, how that is, and what was found, not {finding}",
            )
