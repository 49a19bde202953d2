"""What nodes write into a store and hear from it, and a way to wait for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from atrion.state import ClusterScar, NodeRow, PhysicsVector
from atrion_cluster.redis import RedisClusterProvider

Provide = Callable[..., RedisClusterProvider]
"""The fixture ``provide``."""


def row(scar: float, evidence: float = 20.0, rate: float = 0.0) -> NodeRow:
    return NodeRow(PhysicsVector(50.0, 1.0, scar, 7.0), evidence, rate)


def vector(scar: float) -> PhysicsVector:
    return PhysicsVector(10.0, 0.5, scar, 1.0)


def near(scar: float, evidence: float) -> ClusterScar:
    return ClusterScar(pytest.approx(scar, abs=0.3), pytest.approx(evidence, rel=0.05))  # type: ignore[arg-type]  # compares alike


async def heard_by(reader: RedisClusterProvider, routes: list[str]) -> dict[str, ClusterScar]:
    """What a node that has just connected hears."""
    await reader.connect()
    return dict(await reader.exchange("reader", {}, routes))


async def until(condition: Callable[[], bool], what: str, patience: float = 10.0) -> None:
    try:
        async with asyncio.timeout(patience):
            while not condition():  # noqa: ASYNC110  # nothing else would tell
                await asyncio.sleep(0.002)
    except TimeoutError:
        raise AssertionError(f"not within {patience} s: {what}") from None
