"""Small programs, one for each way to use a library, before and after they are rewritten."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import circuitbreaker
import pytest

from atrion import FlowRejected
from atrion._migrate.project import migrate
from atrion.testing import force_open
from packages.atrion.tests.migrate.playing import fails

# aiobreaker asks for the time in a way that Python has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow:DeprecationWarning")


def test_a_block_of_circuitbreaker_is_never_refused_and_a_flow_is(tmp_path: Path) -> None:
    path = tmp_path / "program.py"
    path.write_text(
        "from circuitbreaker import CircuitBreaker\n\n"
        'db = CircuitBreaker(name="db", failure_threshold=2)\n\n\n'
        "def block(work):\n    with db:\n        return work()\n"
    )
    before: dict[str, Any] = {}
    exec(path.read_text(), before)
    (file,) = migrate("circuitbreaker", [path]).files
    after: dict[str, Any] = {}
    exec(file.after, after)
    for _ in range(5):
        with pytest.raises(OSError, match="down"):
            before["block"](fails)
    assert isinstance(before["db"], circuitbreaker.CircuitBreaker)
    assert before["db"].opened
    assert before["block"](lambda: "served") == "served"
    assert after["block"](lambda: "served") == "served"
    with force_open("db", after["atrion"]), pytest.raises(FlowRejected):
        after["block"](lambda: "served")


SMALL = {
    "a fallback of circuitbreaker": (
        "circuitbreaker",
        """
from circuitbreaker import circuit


def cached(work):
    return "refused"


@circuit(name="db", failure_threshold=5, fallback_function=cached)
def query(work):
    return work()
""",
    ),
    "a block of pybreaker": (
        "pybreaker",
        """
import pybreaker

db = pybreaker.CircuitBreaker(fail_max=5, name="db")


def query(work):
    try:
        with db.calling():
            return work()
    except pybreaker.CircuitBreakerError:
        return "refused"
""",
    ),
    "asynchronous blocks of purgatory": (
        "purgatory",
        """
import asyncio

from purgatory import AsyncCircuitBreakerFactory
from purgatory.domain.model import OpenedState

breakers = AsyncCircuitBreakerFactory(default_threshold=5)


async def _query(work):
    await breakers.initialize()
    try:
        async with await breakers.get_breaker("db"):
            return work()
    except OpenedState:
        return "refused"


def query(work):
    return asyncio.run(_query(work))
""",
    ),
    "an asynchronous function of circuitbreaker": (
        "circuitbreaker",
        """
import asyncio

from circuitbreaker import CircuitBreaker, CircuitBreakerError

db = CircuitBreaker(name="db", failure_threshold=5)


@db
async def _query(work):
    return work()


def query(work):
    try:
        return asyncio.run(_query(work))
    except CircuitBreakerError:
        return "refused"
""",
    ),
}


@pytest.mark.parametrize("case", SMALL)
def test_blocks_fallbacks_and_coroutines_refuse_as_before(case: str, tmp_path: Path) -> None:
    library, source = SMALL[case]
    path = tmp_path / "program.py"
    path.write_text(source)
    (file,) = migrate(library, [path]).files
    assert file.marks == []
    assert library.encode() not in file.after
    before: dict[str, Any] = {}
    after: dict[str, Any] = {}
    exec(source, before)
    exec(file.after, after)
    for program in (before, after):
        assert program["query"](lambda: 7) == 7
        with pytest.raises(OSError, match="down"):
            program["query"](fails)
    for _ in range(5):
        with suppress(OSError):
            before["query"](fails)
    assert before["query"](lambda: 7) == "refused"
    with force_open("db", after["atrion"]):
        assert after["query"](lambda: 7) == "refused"
    assert after["query"](lambda: 7) == 7


def test_a_function_of_aiobreaker_that_is_decorated_and_called_passes_the_guard_twice(tmp_path: Path) -> None:
    path = tmp_path / "program.py"
    path.write_text(
        'import aiobreaker\n\ndb = aiobreaker.CircuitBreaker(name="db")\n\n\n'
        "@db\ndef query():\n    return 7\n\n\ndef call():\n    return db.call(query)\n"
    )
    (file,) = migrate("aiobreaker", [path]).files
    program: dict[str, Any] = {}
    exec(file.after, program)
    assert program["call"]() == 7
    assert program["atrion"].snapshot()["db"].admitted == 2


def test_a_loop_of_attempts_is_guarded(tmp_path: Path) -> None:
    path = tmp_path / "program.py"
    path.write_text(
        "import tenacity\n\n\ndef charge(work):\n"
        "    for attempt in tenacity.Retrying(stop=tenacity.stop_after_attempt(2), reraise=True):\n"
        "        with attempt:\n            return work()\n"
    )
    (file,) = migrate("tenacity", [path]).files
    program: dict[str, Any] = {}
    exec(file.after, program)
    assert program["charge"](lambda: 3) == 3
    with force_open("charge", program["atrion"]), pytest.raises(FlowRejected):
        program["charge"](lambda: 1)
