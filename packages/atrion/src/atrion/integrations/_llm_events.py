"""The errors that providers of language models send within a stream of server-sent events, which began with 200.

What is streamed comes from outside. An event that makes no sense is as good as none; nothing here raises.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

__all__ = ["Errors"]

LONGEST: Final = 16384
"""Bytes of one event that are looked at; more are passed over."""
FAILED: Final = frozenset({b"error", b"response.failed"})
"""Names of the events that are errors, as ``event``."""
NAMED: Final = re.compile(rb'"(?:code|type)"\s*:\s*"?(\w+)')
AT_ONCE: Final = re.compile(rb'\s*\{\s*"error"\s*:\s*[{"]')
"""The beginning of data that is an error; what a model says cannot look like it, since quotes are escaped there."""
BROKEN: Final = 500
STATUSES: Final = {
    "invalid_request_error": 400,
    "invalid_prompt": 400,
    "content_filter": 400,
    "context_length_exceeded": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "insufficient_quota": 429,
    "overloaded_error": 529,
}
"""The status that an error would have had as an answer of its own; that of others is 500."""


class Errors:
    """Finds the first error in a stream, however it is cut into chunks."""

    def __init__(self) -> None:
        self._line = b""
        self._returned = False
        self._name = b""
        self._data = b""
        self._found = False

    def add(self, chunk: bytes) -> int | None:
        """The status that stands for an error whose event ends in this ``chunk``; None without one, and after one."""
        if self._found:
            return None
        if self._returned and chunk.startswith(b"\n"):  # a line ends with both, cut in two
            chunk = chunk[1:]
        self._returned = chunk.endswith(b"\r") or (self._returned and not chunk)
        *lines, rest = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        for line in lines:
            status = self._end_line(line)
            if status is not None:
                self._found = True
                return status
        self._keep(rest)
        return None

    def close(self) -> int | None:
        """The same for an event that the end of the stream has cut off."""
        self._returned = False
        return self.add(b"\n\n")

    def _keep(self, part: bytes) -> None:
        self._line += part[: LONGEST - len(self._line)]

    def _end_line(self, line: bytes) -> int | None:
        self._keep(line)
        line, self._line = self._line, b""
        if not line:
            name, data = self._name, self._data
            self._name = self._data = b""
            return _status_of_event(name, data) if data else None
        field, _, value = line.partition(b":")
        if field == b"event":
            self._name = value.strip()
        elif field == b"data":
            self._data = (self._data + value + b"\n")[:LONGEST]
        return None


def _status_of_event(name: bytes, data: bytes) -> int | None:
    named = name in FAILED
    if not (named or b"error" in data or b"response.failed" in data):
        return None
    try:
        body = json.loads(data)
    except (ValueError, RecursionError):  # it was cut off, or is no JSON
        if named or AT_ONCE.match(data):
            return _status([found.decode("ascii", "replace") for found in NAMED.findall(data)])
        return None
    error = _error_in(body) or (body if named else None)
    if error is None:
        return None
    told = [error.get(key) for key in ("code", "type", "status")] if isinstance(error, Mapping) else []
    return _status([str(value) for value in told])


def _error_in(body: Any) -> Any:
    """What an event says of an error; None if it is none."""
    if not isinstance(body, Mapping):
        return None
    kind = body.get("type")
    if kind == "response.failed":
        response = body.get("response")
        return (response.get("error") if isinstance(response, Mapping) else None) or body
    if body.get("error"):
        return body["error"]
    return body if kind == "error" or body.get("object") == "error" else None


def _status(told: list[str]) -> int:
    for value in told:
        if value in STATUSES:
            return STATUSES[value]
        if value.isascii() and value.isdigit() and 400 <= int(value[:4]) < 600:
            return int(value[:4])
    return BROKEN
