"""The command: `python -m benchmarks [--quick] [--json] [--pure-python PATH] [--case NAME …]`."""

import argparse
import logging
import sys
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from benchmarks import libraries
from benchmarks.cases import FLATNESS
from benchmarks.report import as_json, as_table
from benchmarks.run import Progress, Wanted, all_cases, needed_for, run_here, run_there


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and return the exit status: 0, or 1 where a number is missing."""
    parser = _parser()
    options = parser.parse_args(argv)
    # Routes break here by design, and say so: with a handler, the last resort of logging does not print it.
    logging.getLogger("atrion.routes").addHandler(logging.NullHandler())
    known = (*all_cases(), *FLATNESS)
    chosen = [name for name in known if any(fnmatchcase(name, pattern) for pattern in options.case or ["*"])]
    if not chosen:
        parser.error(f"no case is called {' or '.join(options.case)}; there are {', '.join(known)}")
    try:
        guards = [libraries.ours()]
    except ImportError as error:
        print(f"benchmarks: atrion cannot be imported here ({error}); install it first.", file=sys.stderr)
        return 1
    peers, missing = libraries.peers()
    if missing and not options.ours_only:
        print(f"benchmarks: not installed, so not compared: {', '.join(missing)}.", file=sys.stderr)
    yardsticks = dict(pair.split("=", 1) for pair in options.yardstick) if options.ours_only else None
    wanted = Wanted(needed_for(chosen), options.quick, yardsticks)
    progress = Progress()
    result = run_here(wanted, [*guards, *peers], progress)
    if options.pure_python is not None:
        there = run_there(options.pure_python, wanted, result, progress)
        result.rows += there.rows
        result.notes += there.notes
        result.troubles += there.troubles
    print(as_json(result.rows) if options.json else as_table(result.rows, result.bare))
    for sentence in (*result.notes, *result.troubles):
        print(f"benchmarks: {sentence}", file=sys.stderr)
    return 1 if result.troubles else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="benchmarks",
        description="What a guard costs: Atrion beside circuit breakers and limiters, over the bare call.",
    )
    parser.add_argument("--quick", action="store_true", help="shorter batches: less than 45 seconds in all")
    parser.add_argument("--json", action="store_true", help="print rows for programs instead of a table")
    parser.add_argument(
        "--case",
        action="append",
        metavar="NAME",
        help="only this case, may be a pattern; may be given several times",
    )
    parser.add_argument(
        "--pure-python",
        type=Path,
        metavar="PATH",
        help="an interpreter with the pure source of atrion, which is measured as well",
    )
    # What this command says to the interpreter of --pure-python.
    parser.add_argument("--ours-only", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--yardstick", action="append", default=[], help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("benchmarks: stopped.", file=sys.stderr)
        sys.exit(130)
