"""Programs written against the real libraries, before and after they are rewritten: they behave as the guides say."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import circuitbreaker
import httpx
import pytest

from atrion import Atrion, FlowRejected
from atrion._migrate.project import migrate, write
from atrion.testing import force_open
from packages.atrion.tests.migrate.compare import COMPARED, KEPT, printed
from packages.atrion.tests.migrate.playing import PROGRAMS, World, load

# aiobreaker asks for the time in a way that Python has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow:DeprecationWarning")

BREAKERS = ("pybreaker", "circuitbreaker", "aiobreaker", "purgatory")
EXCLUDING = ("pybreaker", "aiobreaker", "purgatory")
HEARD = {
    "pybreaker": ([True, False, False], [False, True, False]),
    "aiobreaker": (["OPEN", "HALF_OPEN", "CLOSED"], ["OPERATIONAL", "CIRCUIT_BREAKER", "OPERATIONAL"]),
}
"""What the programs' listeners hear, before and after, of a dependency that is up, down and up again."""


@pytest.fixture(params=[False, True], ids=["before", "after"])
def rewritten(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def fails() -> str:
    raise OSError("down")


def program_in(world: World, library: str, rewritten: bool) -> dict[str, Any]:
    return load(library, Atrion(clock=world.clock) if rewritten else None)


def outcomes(world: World, call: Callable[..., Any], work: Callable[[], Any], seconds: int) -> list[Any]:
    """What a program returns for five calls a second; the class of what it raises where it does."""
    found = []
    for _ in range(seconds * 5):
        try:
            found.append(call(work))
        except Exception as error:
            found.append(type(error))
        world.sleep(0.2)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("library", COMPARED)
def test_the_guide_shows_what_the_comparison_prints(library: str) -> None:
    kept = (KEPT / f"{library}.txt").read_text(encoding="utf-8")
    assert kept == printed(library), "run: python -m packages.atrion.tests.migrate.compare --write"


@pytest.mark.parametrize("library", COMPARED)
def test_a_program_is_rewritten_whole_and_a_second_run_changes_nothing(library: str, tmp_path: Path) -> None:
    path = tmp_path / f"with_{library}.py"
    path.write_bytes((PROGRAMS / path.name).read_bytes())
    (file,) = migrate(library, [path]).files
    assert file.error is None
    assert len(file.marks) == (library == "slowapi")  # whose limits are for a human to judge
    write(file)
    assert migrate(library, [path]).changed == []
    if library in BREAKERS:
        imports = [line for line in path.read_text().splitlines() if line.startswith(("import", "from"))]
        assert not any(library in line for line in imports)


@pytest.mark.parametrize("library", BREAKERS)
def test_a_healthy_dependency_is_served_and_an_error_is_its_own(library: str, rewritten: bool) -> None:
    with World().running() as world:
        program = program_in(world, library, rewritten)
        for name in ("query", "call", "guarded"):
            assert program[name](lambda: 7) == 7
            with pytest.raises(OSError, match="down"):
                program[name](fails)


@pytest.mark.parametrize("library", BREAKERS)
def test_a_dead_dependency_is_refused_where_the_program_expects_it_and_served_when_it_is_back(
    library: str, rewritten: bool
) -> None:
    with World().running() as world:
        program = program_in(world, library, rewritten)
        assert set(outcomes(world, program["guarded"], lambda: "served", 20)) == {"served"}
        down = outcomes(world, program["guarded"], fails, 40)
        assert down[0] is OSError
        assert down[-20:].count("refused") >= 15
        back = outcomes(world, program["guarded"], lambda: "served", 60)
        assert set(back[-50:]) == {"served"}


@pytest.mark.parametrize("library", HEARD)
def test_a_listener_hears_on(library: str, rewritten: bool) -> None:
    with World().running() as world:
        program = program_in(world, library, rewritten)
        outcomes(world, program["guarded"], lambda: "served", 20)
        outcomes(world, program["guarded"], fails, 25)
        outcomes(world, program["guarded"], lambda: "served", 60)
        assert program["heard"] == HEARD[library][rewritten]


@pytest.mark.parametrize("library", EXCLUDING)
def test_excluded_exceptions_open_nothing(library: str, rewritten: bool) -> None:
    def invalid() -> str:
        raise ValueError("nonsense")

    with World().running() as world:
        program = program_in(world, library, rewritten)
        assert set(outcomes(world, program["guarded"], invalid, 40)) == {ValueError}


def test_pybreaker_runs_one_call_at_a_time_and_a_guard_does_not(rewritten: bool) -> None:
    program = load("pybreaker", Atrion() if rewritten else None)
    inside, second, go_on = threading.Event(), threading.Event(), threading.Event()

    def first_work() -> None:
        inside.set()
        assert go_on.wait(30.0)

    threads = [
        threading.Thread(target=program["query"], args=[work], daemon=True)
        for work in (first_work, second.set)
    ]
    threads[0].start()
    assert inside.wait(30.0)
    threads[1].start()
    # Where calls wait for each other there is no event to wait for; a moment is enough to see it enter otherwise.
    assert second.wait(30.0 if rewritten else 0.5) is rewritten
    go_on.set()
    for thread in threads:
        thread.join(30.0)
    assert second.is_set()


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


def test_each_attempt_of_a_retry_is_guarded_and_a_rejection_is_not_tried_again() -> None:
    with World().running() as world:
        engine = Atrion(clock=world.clock)
        program = load("tenacity", engine)
        attempts = []

        def flaky() -> int:
            attempts.append(world.clock.now)
            if len(attempts) < 3:
                raise OSError("not yet")
            return 5

        assert program["query"](flaky) == 5
        assert attempts == pytest.approx([1000.0, 1000.1, 1000.2])
        assert engine.snapshot()["query"].admitted == 3
        before = world.clock.now
        with force_open("query", engine), pytest.raises(FlowRejected):
            program["query"](flaky)
        assert (len(attempts), world.clock.now) == (3, before)


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


def test_quotas_stay_and_what_is_shed_is_answered_otherwise() -> None:
    with World().running() as world:
        engine = Atrion(clock=world.clock)
        program = load("slowapi", engine)
        program["app"].state.work = lambda: "item"

        async def ask() -> int:
            transport = httpx.ASGITransport(app=program["app"])
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
                return (await client.get("/item")).status_code

        def statuses(count: int) -> list[int]:
            return [
                asyncio.run(ask()) for _ in range(count)
            ]  # each on an event loop that has nothing else to do

        assert set(statuses(100)) == {200}
        with force_open("GET /item", engine):
            assert statuses(1) == [503]  # which counts against no quota
        assert statuses(81) == [*[200] * 80, 429]


def test_the_functional_style_of_v1_becomes_the_engine() -> None:
    before = load("v1")
    assert before["hear"](0.1, 0.0, 0.2)[1] < 0.0
    assert before["hear"](5.0, 0.0, 0.2)[1] > 0.0
    engine = Atrion()
    after = load("v1", engine)
    assert after["hear"](0.1, 0.0, 0.2)[0] > 0.0
    assert after["hear_of"]("search", 0.1, 0.2) > 0.0
    assert set(engine.snapshot()) == {"with_v1.checkout", "search"}
