"""The ``atrion`` command."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from atrion.errors import AtrionError

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status, 1 with a plain sentence where it fails."""
    from atrion.cli import demo, doctor, lab  # a command's own imports must not slow the others

    parser = argparse.ArgumentParser(
        prog="atrion",
        description="Adaptive admission control that feels like physics.",
        epilog="example: atrion demo --overload 8 --seconds 30",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    demo.add_parser(commands)
    lab.add_parser(commands)
    doctor.add_parser(commands)
    arguments = parser.parse_args(argv)
    try:
        return int(arguments.run(arguments))
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    except AtrionError as error:
        print(f"atrion: {error}", file=sys.stderr)
        return 1
