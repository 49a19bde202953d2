"""What is rewritten, what a human is told, and what the command does."""

from __future__ import annotations

import json
import sys
from importlib.metadata import files as files_of
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atrion._migrate.project import LIBRARIES, migrate, write
from atrion.cli import main


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
