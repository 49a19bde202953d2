"""The ``atrion`` command."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

from atrion.errors import AtrionError

__all__ = ["main"]

EXAMPLES = """\
examples:
  atrion demo                          a service beyond its capacity, without and with Atrion
  atrion lab run flash-crowd           a crowd, simulated in a second
  atrion doctor workers:///var/lib/shop/atrion
  atrion COMMAND --help                what a command can do"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status, 1 with a plain sentence where it fails."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    if arguments.command is None:
        parser.print_help(sys.stderr)
        return 2
    try:
        status = int(arguments.run(arguments))
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:  # whoever read our output has heard enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except AtrionError as error:
        print(f"atrion: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    from atrion.cli import demo, doctor, lab  # a command's own imports must not slow the others

    parser = argparse.ArgumentParser(
        prog="atrion",
        description="Adaptive admission control that feels like physics.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=_Version, help="show the version and which core runs")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    demo.add_parser(commands)
    lab.add_parser(commands)
    doctor.add_parser(commands)
    return parser


class _Version(argparse.Action):
    """The version, looked up only when it is asked for."""

    def __init__(self, option_strings: Sequence[str], dest: str, help: str | None = None) -> None:
        super().__init__(option_strings, dest, nargs=0, help=help)

    def __call__(self, parser: argparse.ArgumentParser, *rest: object) -> None:
        """Print it and leave."""
        from atrion import compiled

        try:
            number = version("atrion")
        except PackageNotFoundError:  # a bundle may leave the package's metadata out
            number = "of unknown version"
        print(f"atrion {number} ({'compiled core' if compiled else 'pure Python core'})")
        parser.exit()
