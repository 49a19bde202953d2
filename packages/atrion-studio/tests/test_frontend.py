"""The front end's own checks: its types, and its unit tests."""

from __future__ import annotations

from frontend_tools import FRONTEND, installed, run


def test_its_types_are_right() -> None:
    installed()
    run("node", "node_modules/typescript/bin/tsc", "--noEmit")


def test_its_unit_tests_pass() -> None:
    said = run("node", "--test", *sorted(str(path) for path in (FRONTEND / "tests").glob("*.test.ts")))
    assert "fail 0" in said


def test_the_lock_file_names_no_registry() -> None:
    assert '"resolved"' not in (FRONTEND / "package-lock.json").read_text()
