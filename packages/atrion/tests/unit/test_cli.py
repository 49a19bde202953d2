from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version

import pytest

from atrion import compiled
from atrion.cli import _parser, main


def commands(
    parser: argparse.ArgumentParser, name: str = ""
) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Every command and subcommand, by the words one types."""
    yield name, parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for word, below in action.choices.items():
                yield from commands(below, f"{name} {word}".strip())


COMMANDS = dict(commands(_parser()))


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself_with_an_example(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main([*name.split(), "--help"])
    assert end.value.code == 0
    said = capsys.readouterr().out
    assert f"usage: atrion {name}".strip() in said
    assert f"atrion {name}".strip() in said[said.index("example") :]
    assert all(len(line) <= 120 for line in said.splitlines())


def test_the_version_tells_which_core_runs(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0
    core = "compiled" if compiled else "pure Python"
    assert capsys.readouterr().out == f"atrion {version('atrion')} ({core} core)\n"


def test_without_a_command_the_help_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "atrion demo" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words", [["dmeo"], ["lab"], ["lab", "rnu"], ["demo", "--secs", "9"], ["demo", "--seconds", "x"]]
)
def test_what_is_not_understood_ends_with_a_sentence_and_status_2(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main(words)
    assert end.value.code == 2
    assert "error:" in capsys.readouterr().err


def test_a_missing_extra_is_told_with_the_pip_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)  # as if it were not installed
    assert main(["demo"]) == 1
    assert "pip install 'atrion[demo]'" in capsys.readouterr().err


def test_the_command_runs_as_a_module_too() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "atrion", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("atrion ")


def test_a_command_imports_nothing_that_is_an_extra() -> None:
    extras = ("numpy", "matplotlib", "rich", "uvicorn", "lmdb")
    code = f"import sys, atrion.cli; atrion.cli._parser(); print([m for m in {extras} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
