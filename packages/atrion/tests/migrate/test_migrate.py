"""Programs written against the real libraries, before and after: what they do, and what a human is told."""

from __future__ import annotations

import asyncio
import json
import sys
from importlib.metadata import files as files_of
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atrion import FlowRejected
from atrion._migrate.project import LIBRARIES, migrate, write
from atrion.cli import main

BREAKERS = {
    "pybreaker": """
import pybreaker

heard = []


class Heard(pybreaker.CircuitBreakerListener):
    def __init__(self):
        self.count = 0

    def state_change(self, cb, old_state, new_state):
        self.count += 1
        heard.append(new_state.name == "open")


db = pybreaker.CircuitBreaker(fail_max=3, exclude=[ValueError], listeners=[Heard()])  # the database


@db
def query(work):
    return work()


def call(work):
    return db.call(lambda task: task(), work)


def guarded(work):
    try:
        return query(work)
    except pybreaker.CircuitBreakerError:
        return "refused"
""",
    "circuitbreaker": """
from circuitbreaker import CircuitBreaker, CircuitBreakerError as Refused, circuit

db = CircuitBreaker(failure_threshold=3, name="db")


@circuit(name="query", failure_threshold=3)
def query(work):
    return work()


def call(work):
    return db.call(work)


def guarded(work):
    try:
        return query(work)
    except (Refused, KeyError):
        return "refused"
""",
    "aiobreaker": """
import asyncio
from datetime import timedelta

from aiobreaker import CircuitBreaker, CircuitBreakerError

db = CircuitBreaker(fail_max=3, timeout_duration=timedelta(seconds=30))


@db
async def _query(work):
    return work()


def query(work):
    return asyncio.run(_query(work))


async def _do(work):
    return work()


def call(work):
    async def run():
        return await db.call_async(_do, work)

    return asyncio.run(run())


def guarded(work):
    try:
        return query(work)
    except CircuitBreakerError:
        return "refused"
""",
    "purgatory": """
from purgatory import SyncCircuitBreakerFactory
from purgatory.domain.model import OpenedState

# one for all
factory = SyncCircuitBreakerFactory(default_threshold=3)


@factory("db")
def query(work):
    return work()


def call(work):
    with factory.get_breaker("other"):
        return work()


def guarded(work):
    try:
        return query(work)
    except OpenedState:
        return "refused"
""",
}


def migrated(
    tmp_path: Path, library: str, source: str | bytes, name: str = "program.py"
) -> tuple[str, list[str]]:
    """The program and the reasons of its marks, after it was rewritten, written and found to be done."""
    path = tmp_path / name
    path.write_bytes(source.encode() if isinstance(source, str) else source)
    report = migrate(library, [path])
    for file in report.files:
        assert file.error is None
        if file.changed:
            write(file)
    assert migrate(library, [path]).changed == []
    return path.read_text(), [mark.reason for file in report.files for mark in file.marks]


def loaded(source: str) -> dict[str, Any]:
    namespace: dict[str, Any] = {"__name__": "program"}
    exec(compile(source, "program.py", "exec"), namespace)
    return namespace


def fails() -> None:
    raise OSError("down")


def after_failures(program: dict[str, Any], count: int) -> object:
    for _ in range(count):
        try:
            program["guarded"](fails)
        except OSError:
            pass
    return program["guarded"](lambda: "served")


@pytest.mark.parametrize("library", BREAKERS)
def test_a_program_does_the_same_for_a_healthy_dependency_and_refuses_for_a_dead_one(
    library: str, tmp_path: Path
) -> None:
    before = loaded(BREAKERS[library])
    source, reasons = migrated(tmp_path, library, BREAKERS[library])
    assert reasons == []
    assert library not in source
    after = loaded(source)
    for program in (before, after):
        assert program["query"](lambda: 7) == 7
        assert program["call"](lambda: 8) == 8
        assert program["guarded"](lambda: 9) == 9
        with pytest.raises(OSError, match="down"):
            program["query"](fails)
    assert after_failures(before, 4) == "refused"
    engine = after["atrion"]
    state = engine.snapshot()
    assert sum(route.admitted for route in state.values()) == 4
    route = max(state.values(), key=lambda found: found.admitted).route
    with engine_forced(engine, route):
        assert after["guarded"](lambda: "served") == "refused"
        with pytest.raises(FlowRejected):
            after["query"](lambda: 1)


def engine_forced(engine: Any, route: str) -> Any:
    from atrion.testing import force_open

    return force_open(route, engine)


def test_a_listener_hears_of_transitions(tmp_path: Path) -> None:
    source, _ = migrated(tmp_path, "pybreaker", BREAKERS["pybreaker"])
    program = loaded(source)
    engine = program["atrion"]
    from atrion import Telemetry, Transition

    observer = program["Heard"]()
    engine.update_physics("db", Telemetry())
    from atrion import Mode

    observer.on_transition(Transition("db", Mode.OPERATIONAL, Mode.CIRCUIT_BREAKER, 300.0))
    assert program["heard"] == [True]
    assert observer.count == 1


def test_excluded_exceptions_stay_excluded(tmp_path: Path) -> None:
    source, _ = migrated(tmp_path, "pybreaker", BREAKERS["pybreaker"])
    assert "ignore=ValueError" in source


def test_each_attempt_of_a_retry_is_guarded_and_a_rejection_is_not_tried_again(tmp_path: Path) -> None:
    source, reasons = migrated(
        tmp_path,
        "tenacity",
        """
from tenacity import retry, retry_if_exception_type, retry_if_result, stop_after_attempt, wait_none

calls = []


@retry(
    stop=stop_after_attempt(3),
    wait=wait_none(),  # at once
)
def charge(work):
    calls.append(work)
    return work()


@retry(retry=retry_if_exception_type(OSError) | retry_if_result(lambda found: found is None), wait=wait_none())
def other(work):
    return work()
""",
    )
    assert reasons == []
    assert "# at once" in source
    program = loaded(source)
    answers = [OSError("once"), 5]

    def flaky() -> int:
        answer = answers.pop(0)
        if isinstance(answer, OSError):
            raise answer
        return answer  # type: ignore[return-value]  # what is left is a number

    assert program["charge"](flaky) == 5
    assert len(program["calls"]) == 2
    results = [None, 6]
    assert program["other"](lambda: results.pop(0)) == 6
    with engine_forced(program["atrion"], "*"), pytest.raises(FlowRejected):
        program["charge"](lambda: 1)
    assert len(program["calls"]) == 2


def test_a_loop_of_attempts_is_guarded(tmp_path: Path) -> None:
    source, reasons = migrated(
        tmp_path,
        "tenacity",
        """
import tenacity


def charge(work):
    for attempt in tenacity.Retrying(stop=tenacity.stop_after_attempt(2), reraise=True):
        with attempt:
            return work()
""",
    )
    assert reasons == []
    program = loaded(source)
    assert program["charge"](lambda: 3) == 3
    with engine_forced(program["atrion"], "charge"), pytest.raises(FlowRejected):
        program["charge"](lambda: 1)


def test_an_application_with_quotas_gets_the_middleware_beside_them(tmp_path: Path) -> None:
    import httpx

    source, reasons = migrated(
        tmp_path,
        "slowapi",
        """
from slowapi import Limiter, _rate_limit_exceeded_handler
from slowapi.errors import RateLimitExceeded
from slowapi.util import get_remote_address
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

limiter = Limiter(key_func=get_remote_address)


@limiter.limit("2/minute")
async def item(request: Request):
    return PlainTextResponse("item")


app = Starlette(routes=[Route("/item", item)])
app.state.limiter = limiter
app.add_exception_handler(RateLimitExceeded, _rate_limit_exceeded_handler)
""",
    )
    assert len(reasons) == 1
    program = loaded(source)

    async def statuses(count: int) -> list[int]:
        transport = httpx.ASGITransport(app=program["app"])
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return [(await client.get("/item")).status_code for _ in range(count)]

    assert asyncio.run(statuses(3)) == [200, 200, 429]
    with engine_forced(program["atrion"], "GET /item"):
        assert asyncio.run(statuses(1)) == [503]


def test_the_functional_style_of_v1_becomes_the_engine(tmp_path: Path) -> None:
    source = """
from atrion import SLO, Telemetry
from atrion.physics import update_physics

PROMISE = SLO(latency=0.2)
checkout_state = None
states = {}


def hear(latency):
    global checkout_state
    checkout_state = update_physics(checkout_state, Telemetry(latency=latency), 0.1, slo=PROMISE)
    return checkout_state.resistance, checkout_state.latency


def hear_of(route, latency):
    states[route] = update_physics(states.get(route), Telemetry(latency=latency), 0.1)
    return states[route].resistance
"""
    before = loaded(source)
    assert before["hear"](0.1)[1] < 0.0
    assert before["hear"](5.0)[1] > 0.0
    rewritten, reasons = migrated(tmp_path, "v1", source)
    assert reasons == []
    after = loaded(rewritten)
    assert after["hear"](0.1)[0] > 0.0
    assert after["hear_of"]("search", 0.1) > 0.0
    assert set(after["atrion"].snapshot()) == {"checkout", "search"}


UNCLEAR = {
    "a star import": ("pybreaker", "from pybreaker import *\n\nb = CircuitBreaker()\n"),
    "a conditional import": (
        "pybreaker",
        "try:\n    import pybreaker\nexcept ImportError:\n    pybreaker = None\n",
    ),
    "a predicate": (
        "pybreaker",
        "import pybreaker\n\nb = pybreaker.CircuitBreaker(exclude=[lambda error: True])\n",
    ),
    "its state": (
        "pybreaker",
        "import pybreaker\n\nb = pybreaker.CircuitBreaker()\nprint(b.current_state)\n",
    ),
    "shared storage": (
        "pybreaker",
        "import pybreaker\n\nb = pybreaker.CircuitBreaker(state_storage=make())\n",
    ),
    "expected exceptions": (
        "circuitbreaker",
        "from circuitbreaker import circuit\n\n\n@circuit(expected_exception=OSError)\ndef f(): ...\n",
    ),
    "a subclass": (
        "circuitbreaker",
        "from circuitbreaker import CircuitBreaker\n\n\nclass Mine(CircuitBreaker): ...\n",
    ),
    "a breaker of each instance": (
        "aiobreaker",
        "import aiobreaker\n\n\nclass C:\n    def __init__(self):\n        self.b = aiobreaker.CircuitBreaker()\n",
    ),
    "a listener of a factory": (
        "purgatory",
        "from purgatory import SyncCircuitBreakerFactory\n\nf = SyncCircuitBreakerFactory()\nf.add_listener(print)\n",
    ),
    "a decorated class": (
        "pybreaker",
        "import pybreaker\n\nb = pybreaker.CircuitBreaker()\n\n\n@b\nclass C: ...\n",
    ),
    "a retry that is called": (
        "tenacity",
        "from tenacity import Retrying\n\nr = Retrying()\nr(print)\n",
    ),
    "a taken name": (
        "pybreaker",
        "import pybreaker\nfrom mine import Atrion\n\nb = pybreaker.CircuitBreaker()\n",
    ),
}


@pytest.mark.parametrize("case", UNCLEAR)
def test_what_is_unclear_gets_a_comment_and_stays(case: str, tmp_path: Path) -> None:
    library, source = UNCLEAR[case]
    after, reasons = migrated(tmp_path, library, source)
    assert reasons
    lines = after.splitlines(keepends=True)
    comments = [line for line in lines if line.lstrip().startswith("# atrion migrate: ")]
    assert len(comments) == len(reasons)
    assert all(f"(docs: migrating/{library})" in line for line in comments)
    assert "".join(line for line in lines if line not in comments) == source


def test_while_a_breaker_stays_both_errors_are_caught(tmp_path: Path) -> None:
    source = """import pybreaker

a = pybreaker.CircuitBreaker()
b = pybreaker.CircuitBreaker(state_storage=make())
try:
    a(print)()
except pybreaker.CircuitBreakerError:
    pass
"""
    after, _ = migrated(tmp_path, "pybreaker", source)
    assert "except (FlowRejected, pybreaker.CircuitBreakerError):" in after


def test_a_breaker_that_another_file_uses_otherwise_stays(tmp_path: Path) -> None:
    (tmp_path / "guards.py").write_text("import pybreaker\n\ndb = pybreaker.CircuitBreaker()\n")
    (tmp_path / "views.py").write_text("from guards import db\n\ndb.call(print)\n")
    (file,) = migrate("pybreaker", [tmp_path]).files
    assert "views.py uses db otherwise" in file.marks[0].reason


def test_a_given_engine_is_imported(tmp_path: Path) -> None:
    path = tmp_path / "views.py"
    path.write_text("import pybreaker\n\ndb = pybreaker.CircuitBreaker()\n")
    (file,) = migrate("pybreaker", [path], engine="app.guards:guard").files
    assert file.after == b'from app.guards import guard\n\ndb = guard.protect("views.db")\n'


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1"])
def test_encoding_newlines_and_mode_are_kept(tmp_path: Path, newline: str, encoding: str) -> None:
    path = tmp_path / "program.py"
    text = "# coding: latin-1\n" if encoding == "latin-1" else ""
    text += "import pybreaker\n\n# größer\ndb = pybreaker.CircuitBreaker()\n"
    path.write_bytes(text.replace("\n", newline).encode(encoding))
    path.chmod(0o751)
    (file,) = migrate("pybreaker", [path]).changed
    write(file)
    after = path.read_bytes().decode(encoding)
    assert "# größer" in after
    assert after.count("\n") == after.count(newline)
    assert path.read_bytes().startswith(b"\xef\xbb\xbf") == (encoding == "utf-8-sig")
    assert path.stat().st_mode & 0o777 == 0o751
    assert [entry.name for entry in tmp_path.iterdir()] == ["program.py"]


def test_the_command_shows_checks_writes_and_reports(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad, other = tmp_path / "good.py", tmp_path / "bad.py", tmp_path / "other.py"
    good.write_text("import pybreaker\n\ndb = pybreaker.CircuitBreaker()\n")
    bad.write_text("import pybreaker\ndef (\n")
    other.write_text("def (\n")
    command = ["migrate", "pybreaker", str(tmp_path)]
    assert main([*command]) == 0
    said = capsys.readouterr().out
    assert '+db = atrion.protect("db")' in said
    assert said.count("cannot be parsed") == 1
    assert main([*command, "--check"]) == 1
    capsys.readouterr()
    assert main([*command, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [file["changed"] for file in found["files"]] == [False, True]
    assert good.read_text().startswith("import pybreaker")
    main([*command, "--write"])
    assert good.read_text().startswith("from atrion import Atrion")
    assert main([*command, "--check"]) == 0


def test_a_missing_extra_names_the_pip_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "libcst", None)
    monkeypatch.delitem(sys.modules, "atrion._migrate.project", raising=False)
    assert main(["migrate", "pybreaker", str(tmp_path)]) == 1
    assert 'pip install "atrion[migrate]"' in capsys.readouterr().err


PARTS = (
    "b = pybreaker.CircuitBreaker()",
    "c = pybreaker.CircuitBreaker(name='x', exclude=[OSError, KeyError])",
    "@b\ndef f(x): return x",
    "@c()\nasync def g(): ...",
    "def h():\n    with c.calling():\n        pass",
    "def i(): return b.call(f, 1)  # one",
    "try:\n    f(1)\nexcept pybreaker.CircuitBreakerError as error:\n    print(error)",
    "print(b.fail_max)",
    "b.add_listener(print)",
    "x = [pybreaker]",
    "for _ in (): b.close()",
)


@pytest.mark.slow
@settings(max_examples=20, deadline=None)
@given(st.lists(st.sampled_from(PARTS), max_size=7, unique=True))
def test_any_program_compiles_afterwards_and_a_second_run_changes_nothing(
    tmp_path_factory: pytest.TempPathFactory, parts: list[str]
) -> None:
    source = "\n\n".join(["import pybreaker", *sorted(parts, key=PARTS.index)]) + "\n"
    after, _ = migrated(tmp_path_factory.mktemp("program"), "pybreaker", source)
    compile(after, "program.py", "exec")


@pytest.mark.slow
@pytest.mark.parametrize("library", [name for name in LIBRARIES if name != "v1"])
def test_a_library_itself_is_read_without_a_crash(library: str, tmp_path: Path) -> None:
    listed = [Path(str(path.locate())) for path in files_of(library) or () if path.suffix == ".py"]
    report = migrate(library, [path for path in listed if path.exists()])
    assert report.searched > 0
    assert [file.error for file in report.files if file.error] == []
