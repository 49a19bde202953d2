from __future__ import annotations

import contextlib
import io
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint, version
from typing import Any

import pytest

from atrion import compiled
from atrion.cli import main
from atrion.cli.commands import OWN

GROUP = "atrion.commands"
OWN_COMMANDS = sorted(entry.name for entry in OWN)


def help_of(*words: str) -> str:
    said = io.StringIO()
    with contextlib.redirect_stdout(said), pytest.raises(SystemExit) as end:
        main([*words, "--help"])
    assert end.value.code == 0
    return said.getvalue()


def listed(said: str) -> list[str]:
    """The commands that a help lists."""
    part = re.search(r"^  (?:COMMAND|ACTION)\n((?:    .*\n)+)", said, re.MULTILINE)
    return re.findall(r"^    (\S+)", part[1], re.MULTILINE) if part else []


def commands(name: str = "") -> Iterator[str]:
    """Every command and subcommand that is installed, as one types it."""
    yield name
    for word in listed(help_of(*name.split())):
        yield from commands(f"{name} {word}".strip())


@pytest.mark.parametrize("name", [*commands()])
def test_every_command_explains_itself_with_an_example(name: str) -> None:
    said = help_of(*name.split())
    assert f"usage: atrion {name}".strip() in said
    shown = said[said.index("\nexamples:\n") :].split("\n\n")[0].splitlines()[2:]
    assert shown
    assert all(line.startswith(f"  atrion {name}".rstrip()) and line.count("atrion ") == 1 for line in shown)
    assert all(len(line) <= 120 for line in said.splitlines())


def test_the_version_tells_which_core_runs(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0
    core = "compiled" if compiled else "pure Python"
    assert capsys.readouterr().out == f"atrion {version('atrion')} ({core} core)\n"


def test_without_a_command_the_help_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "atrion doctor" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words, meant",
    [
        (["dcotor"], "doctor"),
        (["doctor", "memory:", "--timout", "1"], "--timeout"),
        (["doctor", "memory:", "--josn"], "--json"),
    ],
)
def test_what_is_misspelt_is_told_what_was_meant(
    words: list[str], meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        status: object = main(words)
    except SystemExit as end:
        status = end.code
    assert status == 2
    assert f"did you mean {meant}?" in capsys.readouterr().err


def test_an_unusable_value_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "memory:", "--timeout", "99"]) == 2
    assert "--timeout must be more than 0 and at most 60 seconds, got " in capsys.readouterr().err


@pytest.mark.parametrize("words", [["dcotor"], ["doctor"], ["doctor", "memory:", "--timeout", "x"]])
def test_what_is_not_understood_ends_with_a_sentence_and_status_2(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main(words)
    assert end.value.code == 2
    assert "error:" in capsys.readouterr().err


def test_the_command_runs_as_a_module_too() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "atrion", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("atrion ")


@pytest.mark.parametrize("words", [["--help"], ["doctor", "--help"], ["migrate", "--help"]])
def test_a_command_imports_nothing_that_is_an_extra(words: list[str]) -> None:
    extras = (
        "numpy",
        "matplotlib",
        "rich",
        "uvicorn",
        "lmdb",
        "opentelemetry",
        "prometheus_client",
        "libcst",
    )
    code = f"""
import sys
from atrion.cli import main
try:
    main({words})
except SystemExit:
    print([name for name in {extras} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def brought(monkeypatch: pytest.MonkeyPatch, **commands: str) -> None:
    """As if other distributions had these entry points, and no more."""
    entries = [EntryPoint(name, value, GROUP) for name, value in commands.items()]
    monkeypatch.setattr("atrion.cli.commands.entry_points", lambda group: entries if group == GROUP else [])


def add_greeting(subparsers: Any) -> None:
    """A command that another distribution might bring."""
    subparsers.add_parser("greet", help="say hello").set_defaults(run=lambda _: print("hello") or 0)


def add_nothing(subparsers: Any) -> None:
    """An entry point that declares nothing."""


def leave(subparsers: Any) -> None:
    """An entry point that ends the program."""
    sys.exit("no")


def test_another_distribution_brings_a_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    brought(monkeypatch, greet=f"{__name__}:add_greeting")
    assert main(["greet"]) == 0
    assert capsys.readouterr().out == "hello\n"
    assert listed(help_of()) == sorted([*OWN_COMMANDS, "greet"])


@pytest.mark.parametrize(
    "name, cure",
    [
        ("demo", 'pip install "atrion[demo]"'),
        ("lab", 'pip install "atrion[lab]"'),
        ("studio", "pip install atrion-studio"),
        ("top", "pip install atrion-studio"),
    ],
)
def test_what_is_not_installed_names_the_pip_command(
    name: str, cure: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    brought(monkeypatch)
    for words in ([name], [name, "--help"], [name, "run", "flash-crowd", "--seed", "3"]):
        assert main(words) == 2
        assert capsys.readouterr().err == f"atrion {name} is not installed: {cure}\n"
    assert listed(help_of()) == OWN_COMMANDS


@pytest.mark.parametrize(
    "value",
    ["no_such_module:add", f"{__name__}:no_such_name", f"{__name__}:add_nothing", f"{__name__}:leave"],
)
def test_a_broken_command_breaks_no_other(
    value: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    brought(monkeypatch, broken=value, greet=f"{__name__}:add_greeting")
    said = help_of()
    assert listed(said) == sorted([*OWN_COMMANDS, "greet"])
    assert "the command broken cannot be loaded" in said
    assert main(["greet"]) == 0
    assert main(["broken", "--anything"]) == 1
    assert "atrion: the command broken cannot be loaded: " in capsys.readouterr().err


def test_no_distribution_replaces_a_command_of_the_core(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    brought(monkeypatch, doctor="no_such_module:add")
    assert main(["doctor", "memory:"]) == 0
    assert "All is well." in capsys.readouterr().out
