"""The ``atrion`` command."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import EntryPoint, PackageNotFoundError, version

from atrion.cli.commands import ELSEWHERE, declare, found
from atrion.cli.parser import Parser, examples
from atrion.errors import AtrionError, ConfigurationError

__all__ = ["main"]

EXAMPLES = {
    "demo": "atrion demo                          a service beyond its capacity, without and with Atrion",
    "doctor": "atrion doctor workers:///var/lib/shop/atrion",
    "init": "atrion init                          a starter for the framework of this folder",
    "lab": "atrion lab run flash-crowd           a crowd, simulated in a second",
    "migrate": "atrion migrate pybreaker src        what a program that uses a breaker becomes",
    "studio": "atrion studio --demo                 a dashboard in the browser",
    "top": "atrion top --demo                    the same in a terminal",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status: 0, 1 after a failure, or 2 after a usage error."""
    words = list(sys.argv[1:] if argv is None else argv)
    known = found()
    name = words[0] if words else ""
    if name in ELSEWHERE and name not in known:
        print(f"atrion {name} is not installed: {ELSEWHERE[name]}", file=sys.stderr)
        return 2
    try:
        parser = _parser(known, name)
        arguments = parser.parse_args(words)
        if arguments.command is None:
            parser.print_help(sys.stderr)
            return 2
        status = int(arguments.run(arguments))
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output has closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except AtrionError as error:
        print(f"atrion: {error}", file=sys.stderr)
        return 2 if isinstance(error, ConfigurationError) else 1


def _parser(known: Mapping[str, EntryPoint], wanted: str) -> argparse.ArgumentParser:
    """The parser with the command ``wanted``, or with all commands if there is none of that name.

    Raises:
        AtrionError: the command cannot be loaded. Of the other commands, the help says so.
    """
    parser = Parser(
        prog="atrion",
        description="Adaptive load shedding for Python: the least important requests are dropped first.",
    )
    parser.add_argument("--version", action=_Version, help="show the version and which core runs")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    notes = [f"atrion {name}: {cure}" for name, cure in ELSEWHERE.items() if name not in known]
    for entry in [known[wanted]] if wanted in known else known.values():
        try:
            declare(entry, commands)
        except AtrionError as error:
            if entry.name == wanted:
                raise
            notes.append(str(error))
    lines = [EXAMPLES[name] for name in known if name in EXAMPLES]
    lines.append("atrion COMMAND --help                what a command can do")
    parser.epilog = "\n".join([examples(*lines), *(["", *notes] if notes else [])])
    return parser


class _Version(argparse.Action):
    """An option that prints the version, which is looked up only then."""

    def __init__(self, option_strings: Sequence[str], dest: str, help: str | None = None) -> None:
        super().__init__(option_strings, dest, nargs=0, help=help)

    def __call__(self, parser: argparse.ArgumentParser, *rest: object) -> None:
        """Print the version and exit."""
        from atrion import compiled

        try:
            number = version("atrion")
        except PackageNotFoundError:  # a bundle may have no package metadata
            number = "of unknown version"
        print(f"atrion {number} ({'compiled core' if compiled else 'pure Python core'})")
        parser.exit()
