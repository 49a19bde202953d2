"""Laws of vitals: they reach watchers complete, only while someone watches, and expire after a few seconds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from atrion.state import VITALS_EXPIRY, VITALS_MOST_BYTES, ClusterSync
from atrion.testing.bench import Bench, Law, expect, law

__all__ = ["VITALS_LAWS"]

VITALS_LAWS: list[Law] = []

ODD_NODES = ["n1", "N1", "n1\nn2", "{n1}", "n*", "../n1", "n 1", "ohm → Ω 🌊", "\ud800", "x" * 256]
"""Every string of 1 to 256 characters may be a node's name; these are the ones most easily confused."""
SLACK = 0.25
"""Seconds by which a store may round an age."""


async def _node(bench: Bench, name: str, store: str | None = None) -> Any:
    """The provider of a node that has pulsed once, as an engine does before it publishes."""
    provider = await bench.open(store)
    if isinstance(provider, ClusterSync):
        await bench.ask(provider.exchange(name, {}, []), "exchange()")
    return provider


async def _publish(bench: Bench, name: str, vitals: bytes, store: str | None = None) -> float:
    """Let a node say something, and return when."""
    provider = await _node(bench, name, store)
    before = bench.now()
    await bench.ask(provider.publish_vitals(name, vitals), "publish_vitals()")
    return before


async def _watch(bench: Bench, provider: Any) -> dict[str, tuple[float, bytes]]:
    found = await bench.ask(provider.watch_vitals(), "watch_vitals()")
    expect(isinstance(found, Mapping), f"watch_vitals must return a mapping, not {type(found)}")
    for node, told in found.items():
        expect(
            isinstance(told, tuple) and len(told) == 2 and told[0] >= 0.0 and isinstance(told[1], bytes),
            f"watch_vitals must return an age in seconds and bytes for {node!r}, not {told!r}",
        )
    return dict(found)


async def _watched(bench: Bench, provider: Any) -> bool:
    return bool(await bench.ask(provider.is_watched(), "is_watched()"))


@law(VITALS_LAWS, "watch_vitals")
async def nobody_watches_until_somebody_does(bench: Bench) -> None:
    node, watcher = await bench.open(), await bench.open()
    expect(not await _watched(bench, node), "is_watched must be false before anybody calls watch_vitals")
    found = await _watch(bench, watcher)
    expect(not found, f"watch_vitals must return nothing before anybody publishes, and returned {found}")
    for provider in (node, watcher, await bench.open()):
        seen = await _watched(bench, provider)
        expect(seen, "is_watched must be true for every provider of the store after watch_vitals")


@law(VITALS_LAWS, "watch_vitals")
async def what_a_node_says_is_told_whole_and_with_its_age(bench: Bench) -> None:
    watcher = await bench.open()
    said = bytes(range(256)) + b"\n\r\n\x00"
    published = await _publish(bench, "n1", said)
    await bench.sleep(0.4)
    told = (await _watch(bench, watcher)).get("n1")
    expect(told is not None, "watch_vitals must return what a node has published, and did not")
    assert told is not None
    age, vitals = told
    expect(vitals == said, f"vitals must come as they went: published {said!r}, told {vitals!r}")
    most = bench.now() - published + SLACK
    expect(0.4 - SLACK <= age <= most, f"the age must be 0.4 s to {most:.2f} s, and is {age}")


@law(VITALS_LAWS, "watch_vitals")
async def what_a_node_says_takes_the_place_of_what_it_said_before(bench: Bench) -> None:
    watcher = await bench.open()
    for said in (b"long ago, and at length", b"now", b""):
        await _publish(bench, "n1", said)
        told = await _watch(bench, watcher)
        seen = {node: vitals for node, (_, vitals) in told.items()}
        expect(seen == {"n1": said}, f"the last words of a node must be told, {said!r}; told {seen}")


@law(VITALS_LAWS, "watch_vitals")
async def nodes_are_told_apart_whatever_their_names(bench: Bench) -> None:
    watcher = await bench.open()
    said = {name: f"of node {number}".encode() for number, name in enumerate(ODD_NODES)}
    for name, vitals in said.items():
        await _publish(bench, name, vitals)
    told = {name: vitals for name, (_, vitals) in (await _watch(bench, watcher)).items()}
    wrong = [name for name in {*said, *told} if said.get(name) != told.get(name)]
    expect(not wrong, f"every node must be told by its name; these are not: {sorted(map(repr, wrong))}")


@law(VITALS_LAWS, "watch_vitals")
async def watching_and_vitals_expire(bench: Bench) -> None:
    node, watcher = await bench.open(), await bench.open()
    await _watch(bench, watcher)
    await _publish(bench, "n1", b"alive")
    await bench.sleep(VITALS_EXPIRY + 2.0 * SLACK)
    expect(
        not await _watched(bench, node), f"is_watched must be false {VITALS_EXPIRY} s after the last watch"
    )
    found = await _watch(bench, watcher)
    expect(not found, f"vitals must be gone after {VITALS_EXPIRY} s, and watch_vitals returned {found}")


@law(VITALS_LAWS, "watch_vitals")
async def vitals_are_bounded_and_never_cut(bench: Bench) -> None:
    watcher = await bench.open()
    most = b"\xa5" * VITALS_MOST_BYTES
    await _publish(bench, "n1", most)
    told = (await _watch(bench, watcher)).get("n1")
    expect(told is not None and told[1] == most, f"{VITALS_MOST_BYTES} bytes of vitals must be told whole")
    node = await _node(bench, "n2")
    try:
        await node.publish_vitals("n2", most + b"!")
    except Exception:
        refused = True
    else:
        refused = False
    expect(refused, f"publish_vitals must refuse more than {VITALS_MOST_BYTES} bytes, and did not")
    told = (await _watch(bench, watcher)).get("n2")
    expect(told is None, "what publish_vitals has refused must not be told, in part or whole")


@law(VITALS_LAWS, "watch_vitals")
async def other_stores_are_not_watched_with_this_one(bench: Bench) -> None:
    watcher = await bench.open()
    stranger = await bench.open(bench.store + "-other")
    await _watch(bench, watcher)
    await _publish(bench, "n1", b"elsewhere", bench.store + "-other")
    expect(
        not await _watched(bench, stranger), "is_watched must be false where only another store is watched"
    )
    found = await _watch(bench, watcher)
    expect(not found, f"watch_vitals must not tell of another store's nodes, and told {found}")
