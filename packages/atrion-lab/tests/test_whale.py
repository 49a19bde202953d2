"""One whale holds a lock: it is found among the jobs, asked to stop, and nobody else is."""

from __future__ import annotations

import json

import pytest

from atrion.cli import main
from atrion_lab.whale import missed, rows


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["asked", "marked", "cancelled"])
def test_the_whale_is_stopped_and_nobody_else(mode: str) -> None:
    found = rows([mode], [11], 1, lambda share: None)
    assert missed(found) == []
    assert (found[0]["innocent"], found[0]["innocent_in_calm"]) == (0, 0)
    assert found[0]["held_seconds"] < 3.0


@pytest.mark.slow
def test_without_asking_the_lock_costs_more_than_half() -> None:
    (row,) = rows(["unasked"], [11], 1, lambda share: None)
    assert row["goodput"] < 0.5
    assert row["held_seconds"] == 60.0


@pytest.mark.slow
def test_the_command_prints_rows_or_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lab", "whale", "--seeds", "1", "--check", "--json"]) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["mode"] for row in found] == ["unasked", "asked", "marked", "cancelled"]


def test_unusable_seeds_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lab", "whale", "--seeds", "0"]) != 0
    assert "--seeds must be a number in [1, 1000]" in capsys.readouterr().err
