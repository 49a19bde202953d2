"""Errors in streams of events: found in any chunks, in bounded memory, and nothing that is sent raises."""

from __future__ import annotations

import json
import tracemalloc
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from atrion.integrations._llm_events import Errors

ENDS = st.sampled_from([b"\n", b"\r\n", b"\r"])
BODIES: st.SearchStrategy[Any] = st.one_of(
    st.sampled_from(
        [
            {"error": {"type": "overloaded_error"}},
            {"error": {"code": 429}},
            {"error": None, "choices": []},
            {"type": "error", "code": "server_error"},
            {"type": "response.failed", "response": {"error": {"code": "rate_limit_exceeded"}}},
            {"type": "response.completed", "response": {"error": None}},
        ]
    ),
    st.recursive(
        st.none() | st.integers() | st.text(max_size=20),
        lambda inner: st.dictionaries(st.sampled_from(["error", "type", "response", "code"]), inner),
    ),
)
LINES = st.one_of(
    BODIES.map(lambda body: b"data: " + json.dumps(body).encode()),
    st.sampled_from(
        [b"", b"event: error", b"event: message", b": error", b"data", b"data: [DONE]", b"data:{"]
    ),
    st.binary(max_size=30),
)


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    return b"".join(line + draw(ENDS) for line in draw(st.lists(LINES, max_size=12)))


def found(chunks: list[bytes]) -> list[int]:
    errors = Errors()
    told = [errors.add(chunk) for chunk in chunks]
    return [status for status in [*told, errors.close()] if status is not None]


@given(streams(), st.lists(st.integers(0, 400)))
def test_chunks_make_no_difference(stream: bytes, cuts: list[int]) -> None:
    whole = found([stream])
    places = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    assert found([stream[at:to] for at, to in pairwise(places)]) == whole
    assert found([stream[at : at + 1] for at in range(len(stream))]) == whole
    assert len(whole) <= 1
    assert all(400 <= status < 600 for status in whole)


@given(st.lists(st.binary()))
def test_garbage_raises_nothing(chunks: list[bytes]) -> None:
    assert all(400 <= status < 600 for status in found(chunks))


def test_an_error_is_told_with_the_chunk_that_ends_its_event() -> None:
    errors = Errors()
    assert errors.add(b'event: error\r\ndata: {"error": {"type": "overloaded_error"}}\r') is None
    assert errors.add(b"\n\r\n") == 529
    assert errors.add(b'data: {"error": {"code": 500}}\n\n') is None


def test_an_event_without_end_takes_bounded_memory() -> None:
    for part in (b"x" * 65536, b'{"error": ' * 6553, b"[" * 65536, b"data: error\n" * 5461):
        errors = Errors()
        errors.add(b"data: ")
        tracemalloc.start()
        for _ in range(64):
            assert errors.add(part) is None
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 8 * 65536
        errors.close()
