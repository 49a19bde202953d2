"""Programs written against the real libraries, before and after they are rewritten: they behave as the guides say."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from atrion import Atrion, FlowRejected
from atrion._migrate.project import migrate, write
from atrion.testing import force_open
from packages.atrion.tests.migrate.compare import COMPARED, KEPT, printed
from packages.atrion.tests.migrate.playing import PROGRAMS, World, fails, load

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
