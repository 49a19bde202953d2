"""Frames of a reading, encoded once for all viewers: all routes for who is new, and the changed ones for the others.

Most routes rest most of the time. A small frame holds every route that has changed since the last full one, so a
viewer who has the full one may lose any number of small ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from atrion_studio.source import Row

__all__ = ["Encoder", "Frame", "rests"]

RESTING: Final = {"admitted": 0.0, "shed": 0.0}
FULL_EVERY: Final = 20
"""Frames after which a full one begins anew, so that the small ones stay small."""

Encoded = dict[str, tuple[Row, msgspec.Raw]]


def rests(row: Row) -> bool:
    """Whether time alone changes nothing of a completed row."""
    return row["since"] is None and row["rates"] == RESTING


class Frame:
    """One reading. ``key`` numbers the full frame that the small one adds to."""

    __slots__ = ("_body", "_event", "_rows", "_small", "key")

    def __init__(self, key: int, body: dict[str, Any], rows: Encoded, changed: set[str]) -> None:
        self.key: int = key
        self._body = body
        self._rows = rows
        self._small = self._encode({"key": key, "full": False}, changed)
        self._event: bytes | None = None

    def event(self, known: int) -> bytes:
        """The server-sent event for a viewer who has the full frame number ``known``."""
        if known == self.key:
            return self._small
        if self._event is None:
            self._event = self._encode({"key": self.key, "full": True}, self._rows)
        return self._event

    def snapshot(self) -> bytes:
        """All of it as one JSON object."""
        return msgspec.json.encode(self._object({}, self._rows))

    def _encode(self, head: dict[str, Any], routes: Mapping[str, Any] | set[str]) -> bytes:
        return b"data: " + msgspec.json.encode(self._object(head, routes)) + b"\n\n"

    def _object(self, head: dict[str, Any], routes: Mapping[str, Any] | set[str]) -> dict[str, Any]:
        return head | self._body | {"routes": {route: self._rows[route][1] for route in routes}}


class Encoder:
    """Encodes readings, each row only when it has changed."""

    def __init__(self) -> None:
        self._rows: Encoded = {}
        self._changed: set[str] = set()
        self._key = 0
        self._age = FULL_EVERY

    def is_known(self, route: str, row: Row) -> bool:
        """Whether this very row is encoded already and nothing of it can have changed since."""
        known = self._rows.get(route)
        return known is not None and known[0] is row and rests(row)

    def encode(self, at: float, rows: Mapping[str, Row], cluster: dict[str, Any]) -> Frame:
        """The frame of a reading at Unix time ``at``."""
        before, self._rows = self._rows, {}
        for route, row in rows.items():
            known = before.get(route)
            if known is None or known[0] is not row or not rests(row):
                known = row, msgspec.Raw(msgspec.json.encode(row))
                self._changed.add(route)
            self._rows[route] = known
        self._age += 1
        if self._age > FULL_EVERY or before.keys() != rows.keys():
            self._key += 1
            self._age = 0
            self._changed = set()
        return Frame(self._key, {"at": at, "cluster": cluster}, self._rows, self._changed)
