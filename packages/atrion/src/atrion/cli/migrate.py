"""``atrion migrate``: shows, checks or writes what a project that uses another library becomes."""

from __future__ import annotations

import argparse
import difflib
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from atrion.cli.parser import examples
from atrion.cli.progress import progress

if TYPE_CHECKING:
    from atrion._migrate.project import FileReport, Report

__all__ = ["add_parser"]

LIBRARIES = ("v1", "pybreaker", "circuitbreaker", "aiobreaker", "purgatory", "tenacity", "slowapi")
PAINT = {"+": "32", "-": "31", "@": "36"}


def add_parser(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "migrate",
        help="rewrite programs that use another library",
        description="Rewrites Python programs that use another library, or Atrion's v1 style. It shows the "
        "difference; --write applies it. What needs a human is left as it is and gets a comment with the reason.",
        epilog=examples(
            "atrion migrate pybreaker src                   show what would change",
            "atrion migrate pybreaker src tests --write     change it",
            "atrion migrate tenacity src --engine app.guards:atrion",
        ),
    )
    parser.add_argument("library", choices=LIBRARIES, metavar="LIBRARY", help=", ".join(LIBRARIES))
    parser.add_argument(
        "paths", nargs="+", type=Path, metavar="PATH", help="files and folders: give the whole project"
    )
    parser.add_argument(
        "--engine", metavar="MODULE:NAME", help="import this engine instead of making one in each file"
    )
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--write", action="store_true", help="change the files")
    how.add_argument(
        "--check", action="store_true", help="end with status 1 if there is something to rewrite"
    )
    parser.add_argument("--json", action="store_true", help="print one object instead")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the command; returns the exit status.

    Raises:
        ConfigurationError: an argument is unusable.
        MissingExtraError: LibCST is not installed.
    """
    from atrion._migrate.project import migrate, write

    report = migrate(
        arguments.library, arguments.paths, engine=arguments.engine, progress=progress("migrating")
    )
    if arguments.write:
        for file in report.changed:
            try:
                write(file)
            except OSError as error:
                file.error = f"cannot be written: {error.strerror or error}"
                file.after = file.before
    if arguments.json:
        print(json.dumps(_plain(report, arguments.write)))
    else:
        if not arguments.write:
            for file in report.changed:
                _print_lines(_difference(file), sys.stdout.isatty())
        for line in _summary(report, arguments.write):
            print(line)
    if arguments.check:
        return 1 if report.changed else 0
    return 1 if arguments.write and any(file.error for file in report.files) else 0


def _difference(file: FileReport) -> Iterator[str]:
    before, after = (text.splitlines(keepends=True) for text in file.texts())
    for line in difflib.unified_diff(before, after, str(file.path), str(file.path)):
        yield line.rstrip("\r\n")


def _print_lines(lines: Iterator[str], color: bool) -> None:
    for line in lines:
        paint = PAINT.get(line[:1]) if color else None
        print(f"\x1b[{paint}m{line}\x1b[0m" if paint else line)


def _summary(report: Report, written: bool) -> Iterator[str]:
    for file in report.files:
        if file.error is not None:
            yield f"{file.path}: {file.error}"
        for mark in file.marks:
            yield f"{file.path}:{mark.line}: {mark.reason}"
    uses = sum(file.rewritten for file in report.changed)
    marks = sum(len(file.marks) for file in report.files)
    verb = "rewritten" if written else "to rewrite"
    yield (
        f"{report.library}: {report.searched} files searched, {len(report.changed)} {verb} ({uses} uses), "
        f"{marks} left to you"
    )


def _plain(report: Report, written: bool) -> dict[str, object]:
    return {
        "library": report.library,
        "searched": report.searched,
        "written": written,
        "files": [
            {
                "path": str(file.path),
                "changed": file.changed,
                "rewritten": file.rewritten,
                "marks": [asdict(mark) for mark in file.marks],
                "error": file.error,
                "diff": "\n".join(_difference(file)) if file.changed else "",
            }
            for file in report.files
        ],
    }
