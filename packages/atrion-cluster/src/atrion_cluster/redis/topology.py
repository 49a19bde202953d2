"""Finds the masters of the shards: one server, the master named by sentinels, or the masters of a cluster."""

from __future__ import annotations

import asyncio
from collections import Counter
from itertools import count
from typing import Any

from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot
from redis.exceptions import ResponseError

from atrion.errors import ProviderError
from atrion_cluster.redis.codec import to_bytes
from atrion_cluster.redis.connection import ServerConnection, TlsContext
from atrion_cluster.redis.settings import Address, RedisSettings

__all__ = ["keys_of", "locate", "tags_of"]


def tags_of(namespace: str, shards: int) -> list[str]:
    """The hash tags of the shards, chosen so that their slots are evenly spread over the masters."""
    tags = []
    width = REDIS_CLUSTER_HASH_SLOTS / shards
    for shard in range(shards):
        for salt in count():
            tag = f"{namespace}:{shards}.{shard}.{salt}"
            # The middle half of the shard's part, so that a border drawn a little differently does not matter.
            if 0.25 <= key_slot(tag.encode()) / width - shard < 0.75 or shards == 1:
                tags.append(tag)
                break
    return tags


def keys_of(tag: str, node: str) -> list[bytes]:
    """The keys of a shard, in the order of the Lua functions, the node's own last."""
    names = ("meta", "routes", "changed", "nodes", f"node:{node}")
    return [to_bytes(f"{{{tag}}}:{name}") for name in names]


async def locate(settings: RedisSettings, tls: TlsContext | None, tags: list[str]) -> list[Address]:
    """The address of the master that has each of ``tags``.

    Raises:
        ProviderError: no server that knows the masters can be reached.
    """
    if settings.topology == "standalone":
        return [settings.addresses[0]] * len(tags)
    asked: tuple[str, ...] = ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", settings.service)
    if settings.topology == "cluster":
        asked = ("CLUSTER", "SLOTS")
    # Concurrently, so that a hanging one does not delay the others.
    asking = [asyncio.ensure_future(_ask(address, settings, tls, asked)) for address in settings.addresses]
    said: list[tuple[Address, Any]] = []
    try:
        for answer in asyncio.as_completed(asking):
            said.append(await answer)
            found = (
                _by_cluster(said[-1], tags) if settings.topology == "cluster" else _by_vote(said, len(asking))
            )
            if found is not None:
                return found if settings.topology == "cluster" else found * len(tags)
    finally:
        for task in asking:
            task.cancel()
    if settings.topology == "cluster":
        raise ProviderError(f"no node of the cluster serves all slots: {_why(said)}")
    raise ProviderError(f"no sentinel knows a master of {settings.service!r}: {_why(said)}")


def _by_vote(said: list[tuple[Address, Any]], sentinels: int) -> list[Address] | None:
    """The master that a majority of the sentinels names."""
    votes = Counter(master for _, answer in said if (master := _address(answer)) is not None)
    if votes and (2 * votes.most_common(1)[0][1] > sentinels or len(said) == sentinels):
        return [votes.most_common(1)[0][0]]
    return None


def _by_cluster(said: tuple[Address, Any], tags: list[str]) -> list[Address] | None:
    """The masters of all tags according to one node, or None if it does not know them."""
    slots = _slots(said[1], said[0])
    found = [slots[slot] for tag in tags if (slot := key_slot(tag.encode())) in slots]
    return found if len(found) == len(tags) else None


async def _ask(
    address: Address, settings: RedisSettings, tls: TlsContext | None, command: tuple[str, ...]
) -> tuple[Address, Any]:
    connection = ServerConnection(address, settings, tls, sentinel=settings.topology == "sentinel")
    try:
        await connection.connect()
        return address, (await connection.ask(command))[0]
    except ProviderError as error:
        return address, error
    finally:
        connection.close()


def _why(said: list[tuple[Address, Any]]) -> str:
    errors = [str(answer) for _, answer in said if isinstance(answer, (ProviderError, ResponseError))]
    return "; ".join(errors) or "none that answered"


def _address(answer: Any) -> Address | None:
    if not isinstance(answer, list) or len(answer) < 2:
        return None
    host, port = answer[0], answer[1]
    if isinstance(host, bytes) and host and str(port, "ascii", "replace").isdecimal():
        return host.decode("ascii", "replace"), int(port)
    return None


def _slots(answer: Any, asked_at: Address) -> dict[int, Address]:
    """The master of every slot, from the answer of ``CLUSTER SLOTS``; empty if it is invalid."""
    found: dict[int, Address] = {}
    for part in answer if isinstance(answer, list) else []:
        match part:
            case [int(first), int(last), [host, int(port), *_], *_] if 0 <= first <= last < 16384:
                # A node that does not know its own address returns none: use the one it was reached by.
                name = host.decode("ascii", "replace") if isinstance(host, bytes) and host else asked_at[0]
                found.update(dict.fromkeys(range(first, last + 1), (name, port)))
            case _:
                return {}
    return found
