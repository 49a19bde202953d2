"""The encoding of data between a node and the server, and the validation of everything received. Pure.

Numbers are little-endian doubles, as in the Lua functions. The store is untrusted: what is malformed, not finite,
negative or too large becomes :data:`INVALID` or is left out, and the caller counts it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from struct import Struct, error
from typing import Any, Final

from atrion.state import ClusterScar, NodeRow, PhysicsVector, Remembered
from atrion.state.blending import EVIDENCE_CAP, EVIDENCE_SECONDS, SCAR_CAP

__all__ = [
    "INVALID",
    "Answer",
    "News",
    "Own",
    "Sums",
    "decayed",
    "pack_row",
    "pack_vector",
    "read_answer",
    "read_news",
    "read_own",
    "read_recall",
    "read_remembered",
    "read_update",
    "to_bytes",
    "to_name",
]

INVALID: Final = ClusterScar(math.nan, math.nan)
"""Replaces an invalid answer, so that the manager counts it."""
MOST_ROUTE_BYTES = 1024
MOST_MESSAGE_BYTES = 4096
MOST_PAIRS = 20_000
ROUNDING = 1e-9
"""Share of all evidence below which the evidence of the others is taken for a rounding error."""

_ROW = Struct("<6d")
_OWN = Struct("<7d")
_SUMS = Struct("<2d")
_NOW = Struct("<d")
_VECTOR = Struct("<4d")
_REMEMBERED = Struct("<5d")
_NEWS = Struct("<3dHH")
_NAME = Struct("<H")


@dataclass(frozen=True, slots=True)
class Own:
    """This node's row in the server: ``at`` in seconds of the server's clock, ``here`` of the local one."""

    row: NodeRow
    at: float
    here: float


@dataclass(frozen=True, slots=True)
class Sums:
    """Sums of ``evidence`` and evidence-weighted ``scars`` over the nodes of a route, ``at`` by the server's clock."""

    evidence: float
    scars: float
    at: float

    def without(self, own: Own | None) -> ClusterScar:
        """The mean of the other nodes: the sums without this node's part, decayed to the same time."""
        evidence, scars = self.evidence, self.scars
        if own is not None:
            age = max(self.at - own.at, 0.0)
            part = min(own.row.evidence, EVIDENCE_CAP) * math.exp(-age / EVIDENCE_SECONDS)
            evidence -= part
            scars -= part * min(own.row.vector.scar_tissue, SCAR_CAP) * math.exp(-own.row.decay_rate * age)
        if evidence <= ROUNDING * self.evidence:
            return ClusterScar(0.0, 0.0)
        return ClusterScar(min(max(scars / evidence, 0.0), SCAR_CAP), evidence)


@dataclass(frozen=True, slots=True)
class Answer:
    """One exchange's answer.

    ``sums`` of routes that changed, ``told`` of those that were requested, with the stored rows of this node in
    ``owns``; None if the numbers are invalid. ``dropped`` counts entries without a valid name, ``refused`` the rows
    that the server did not accept.
    """

    epoch: bytes
    version: int
    now: float
    refused: int
    sums: dict[str, Sums | None]
    told: dict[str, Sums | None]
    owns: dict[str, Own]
    dropped: int


@dataclass(frozen=True, slots=True)
class News:
    """A message of the channel: ``node``'s scar jumped."""

    tag: str
    node: str
    route: str
    sums: Sums


def to_bytes(name: str) -> bytes:
    """A route's or a node's name as bytes; lone surrogates, which a route id may have, are preserved."""
    return name.encode("utf-8", "surrogatepass")


def decayed(row: NodeRow, age: float) -> NodeRow:
    """The row after ``age`` seconds."""
    age = max(age, 0.0)
    vector = row.vector
    scar = vector.scar_tissue * math.exp(-row.decay_rate * age)
    evidence = min(row.evidence, EVIDENCE_CAP) * math.exp(-age / EVIDENCE_SECONDS)
    return NodeRow(
        PhysicsVector(vector.resistance, vector.momentum, scar, vector.timestamp), evidence, row.decay_rate
    )


def pack_row(row: NodeRow) -> bytes:
    """A row without its age, which the server's clock gives."""
    v = row.vector
    return _ROW.pack(v.resistance, v.momentum, v.scar_tissue, v.timestamp, row.evidence, row.decay_rate)


def pack_vector(vector: PhysicsVector) -> bytes:
    """A vector."""
    return _VECTOR.pack(vector.resistance, vector.momentum, vector.scar_tissue, vector.timestamp)


# --- reading -------------------------------------------------------------------------------------------------


def _numbers(layout: Struct, text: object) -> tuple[float, ...] | None:
    """The doubles of ``text`` when it has exactly the layout's length and each is finite and ≥ 0."""
    if not isinstance(text, bytes) or len(text) != layout.size:
        return None
    found: tuple[float, ...] = layout.unpack(text)
    return found if all(0.0 <= value < math.inf for value in found) else None


def to_name(text: object) -> str | None:
    """The name in ``text``, or None if it is invalid."""
    if not isinstance(text, bytes) or not 0 < len(text) <= MOST_ROUTE_BYTES:
        return None
    try:
        return text.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return None


def _groups(answer: object, size: int) -> Iterator[Sequence[Any]]:
    """The flat list ``answer`` in groups of ``size``; empty if it is no such list."""
    if isinstance(answer, list):
        for start in range(0, min(len(answer), size * MOST_PAIRS) - size + 1, size):
            yield answer[start : start + size]


def _sums(text: object, now: float) -> Sums | None:
    found = _numbers(_SUMS, text)
    # Except for rounding, the mean cannot exceed the maximum of one scar.
    if found is None or found[1] > found[0] * SCAR_CAP * 1.001 + 1e-6:
        return None
    return Sums(found[0], found[1], now)


def read_own(text: object, here: float) -> Own | None:
    """A stored row of this node; ``here`` is the local time."""
    found = _numbers(_OWN, text)
    return (
        None if found is None else Own(NodeRow(PhysicsVector(*found[:4]), found[4], found[5]), found[6], here)
    )


def read_answer(answer: object, here: float) -> Answer | None:
    """The answer of an exchange at the local time ``here``; None if it is no valid answer."""
    if not isinstance(answer, list) or len(answer) != 6:
        return None
    epoch, version, text, refused, changed, asked = answer
    now = _numbers(_NOW, text)
    if (
        not isinstance(epoch, bytes)
        or not isinstance(version, int)
        or not isinstance(refused, int)
        or now is None
    ):
        return None
    at = now[0]
    sums: dict[str, Sums | None] = {}
    told: dict[str, Sums | None] = {}
    owns: dict[str, Own] = {}
    dropped = 0
    for name, packed in _groups(changed, 2):
        route = to_name(name)
        if route is None:
            dropped += 1
        else:
            sums[route] = _sums(packed, at)
    for name, packed, kept in _groups(asked, 3):
        route, own = to_name(name), read_own(kept, here)
        if route is None:
            dropped += 1
            continue
        told[route] = _sums(packed, at)
        if own is not None:
            # The local time at which it was stored, so that it can be sent again with its current decay.
            owns[route] = Own(own.row, own.at, here - max(at - own.at, 0.0))
    return Answer(epoch, version, at, refused, sums, told, owns, dropped)


def read_news(message: object) -> News | None:
    """A message of the channel, or None if it is invalid."""
    if not isinstance(message, bytes) or not _NEWS.size < len(message) <= MOST_MESSAGE_BYTES:
        return None
    now, _, _, tag_length, node_length = _NEWS.unpack_from(message)
    sums = _sums(message[8:24], now) if 0.0 <= now < math.inf else None
    start, end = _NEWS.size + tag_length, _NEWS.size + tag_length + node_length
    tag, node, route = (
        to_name(part) for part in (message[_NEWS.size : start], message[start:end], message[end:])
    )
    if sums is None or tag is None or node is None or route is None:
        return None
    return News(tag, node, route, sums)


def read_remembered(text: object) -> Remembered | None:
    """A vector with its age, or None if it is invalid."""
    found = _numbers(_REMEMBERED, text)
    return None if found is None else Remembered(PhysicsVector(*found[:4]), found[4])


def read_update(message: object) -> tuple[bytes, PhysicsVector] | None:
    """A message of a route's channel: the writer and the vector; None if it is invalid."""
    if not isinstance(message, bytes) or len(message) > MOST_MESSAGE_BYTES:
        return None
    try:
        (length,) = _NAME.unpack_from(message)
    except error:
        return None
    numbers = _numbers(_VECTOR, message[_NAME.size + length :])
    return None if numbers is None else (message[_NAME.size : _NAME.size + length], PhysicsVector(*numbers))


def read_recall(answer: object) -> tuple[bytes, dict[str, Remembered], int] | None:
    """A page of stored vectors: the next cursor, the vectors with their ages, and the number of invalid ones."""
    if not isinstance(answer, list) or not answer or not isinstance(answer[0], bytes):
        return None
    found: dict[str, Remembered] = {}
    dropped = 0
    for name, text in _groups(answer[1:], 2):
        route, remembered = to_name(name), read_remembered(text)
        if route is None or remembered is None:
            dropped += 1
        else:
            found[route] = remembered
    return answer[0], found, dropped
