"""The command: `python -m benchmarks.cluster [SECTION …] [--json] [--quick]`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from benchmarks.cluster import fleet, guards, others, pulses, rates, spread

Section = Callable[[bool, argparse.Namespace], Sequence[Any]]

SECTIONS: dict[str, tuple[str, Section]] = {
    "rates": (
        "Exchanges that one second of the server's CPU does, 100 connections",
        lambda quick, _: rates.measure(1.0 if quick else 5.0),
    ),
    "curve": (
        "What one exchange costs the server by what is said and told, 100 connections",
        lambda quick, _: rates.curve(0.5 if quick else 3.0),
    ),
    "pulses": ("CPU of a pod's pulse", lambda quick, _: pulses.measure(30 if quick else 200)),
    "guards": (
        "Microseconds of a guarded call, Redis against memory in the same run",
        lambda quick, _: guards.measure(2.0 if quick else 10.0),
    ),
    "spread": (
        "Milliseconds until an idle pod knows, three processes",
        lambda quick, _: spread.measure(5 if quick else 50),
    ),
    "others": (
        "Other libraries with their state in Redis: a call when it is well, hung and gone; seconds to another pod",
        lambda quick, _: others.measure(2.0 if quick else 10.0),
    ),
    "fleet": (
        "A fleet on one real server",
        lambda quick, given: fleet.measure(
            given.pods or (100 if quick else 1000),
            given.routes,
            given.seconds or (5.0 if quick else 60.0),
            given.interval,
        ),
    ),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="benchmarks.cluster", description=__doc__)
    parser.add_argument("section", nargs="*", help=f"of {', '.join(SECTIONS)}; all by default")
    parser.add_argument("--json", action="store_true", help="print one object for programs")
    parser.add_argument("--quick", action="store_true", help="a short run of each")
    parser.add_argument("--pods", type=int, help="pods of the fleet (1,000)")
    parser.add_argument("--routes", type=int, default=100, help="routes of each")
    parser.add_argument("--seconds", type=float, help="how long the fleet runs (60)")
    parser.add_argument("--interval", type=float, default=0.1, help="seconds between the fleet's pulses")
    given = parser.parse_args(argv)
    unknown = [name for name in given.section if name not in SECTIONS]
    if unknown:
        parser.error(f"no section is called {', '.join(unknown)}; there are {', '.join(SECTIONS)}")
    result: dict[str, list[dict[str, Any]]] = {}
    for name in given.section or SECTIONS:
        title, section = SECTIONS[name]
        print(f"benchmarks.cluster: {name} …", file=sys.stderr)
        rows = [_facts(row) for row in section(given.quick, given)]
        result[name] = rows
        if not given.json:
            print(f"\n{title}\n{_table(rows)}")
    if given.json:
        print(json.dumps(result, indent=1))
    return 0


def _facts(row: Any) -> dict[str, Any]:
    facts = asdict(row)
    for name in dir(type(row)):
        if isinstance(getattr(type(row), name), property):
            facts[name] = getattr(row, name)
    return facts


def _table(rows: list[dict[str, Any]]) -> str:
    cells = [list(rows[0])] + [[_cell(value) for value in row.values()] for row in rows]
    widths = [max(len(line[place]) for line in cells) for place in range(len(cells[0]))]
    return "\n".join(
        "  ".join(
            text.ljust(width) if place == 0 else text.rjust(width)
            for place, (text, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in cells
    )


def _cell(value: Any) -> str:
    if value is None:
        return "—"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("benchmarks.cluster: stopped.", file=sys.stderr)
        sys.exit(130)
