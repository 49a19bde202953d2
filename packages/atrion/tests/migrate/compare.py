"""Compare other libraries with Atrion: ``python -m packages.atrion.tests.migrate.compare [LIBRARY...]``.

It plays a recording through a program of each library and through what ``atrion migrate`` makes of it, and prints the
tables of the guides. ``--write`` keeps them in docs/tables/migrating, ``--recording FILE`` plays another recording.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

from packages.atrion.tests.migrate.playing import Phase, play, recorded

__all__ = ["COMPARED", "KEPT", "printed"]

COMPARED = ("pybreaker", "circuitbreaker", "aiobreaker", "purgatory", "tenacity", "slowapi", "v1")
KEPT = Path(__file__).parents[4] / "docs/tables/migrating"
RECORDING = Path(__file__).parent / "recording.csv"
TITLES = {"answered": "answered", "failed": "failed", "refused": "refused", "quota": "over the quota"}
BREAKER = ("answered", "failed", "refused")
COLUMNS = {
    "tenacity": (("answered", "failed"), BREAKER),
    "slowapi": (("answered", "failed", "quota"), (*BREAKER, "quota")),
}
"""Outcomes that are counted, before and after."""


def printed(library: str, recording: Path = RECORDING) -> str:
    """The tables of one library's guide."""
    before = play(library, recorded(recording), rewritten=False)
    after = play(library, recorded(recording), rewritten=True)
    if library == "v1":
        return _resistances(before, after)
    old, new = COLUMNS.get(library, (BREAKER, BREAKER))
    heads = [*(f"{library}: {TITLES[name]}" for name in old), *(f"Atrion: {TITLES[name]}" for name in new)]
    rows = [
        [then.name, len(then.calls), *map(then.count, old), *map(now.count, new)]
        for then, now in zip(before, after, strict=True)
    ]
    found = _table(["the dependency", "calls", *heads], rows)
    facts = list(_facts(library, before, after))
    return found + ("\n" + _table(["", library, "Atrion"], facts) if facts else "")


def _facts(library: str, before: list[Phase], after: list[Phase]) -> Iterator[Sequence[object]]:
    names = [phase.name for phase in before]

    def both(title: str, name: str, fact: object) -> Iterator[Sequence[object]]:
        if name in names:
            place = names.index(name)
            yield title, *(fact(side[place]) for side in (before, after))  # type: ignore[operator]

    if library == "tenacity":
        for name in ("down", "hangs"):
            yield from both(f"attempts while it {_is(name)}", name, lambda phase: sum(phase.reached))
    if library != "slowapi":
        yield from both("a failing call raises", "down", _own)
    for name in ("down", "hangs"):
        yield from both(f"failing calls before the first refusal while it {_is(name)}", name, _until_refused)
    for name in ("back after it was down", "back after it hung"):
        yield from both(f"seconds until the last refusal, {name.removeprefix('back ')}", name, _last_refused)


def _is(name: str) -> str:
    return "is down" if name == "down" else name


def _own(phase: Phase) -> str:
    """The errors of calls that reached the dependency."""
    tried = zip(phase.errors, phase.reached, strict=True)
    found = sorted({error for error, reached in tried if reached and error})
    return " or ".join(name if name == "its own" else f"`{name}`" for name in found) or "none"


def _until_refused(phase: Phase) -> str:
    if "refused" not in phase.outcomes:
        return "never refused"
    return str(phase.outcomes[: phase.outcomes.index("refused")].count("failed"))


def _last_refused(phase: Phase) -> str:
    refused = [
        call.at for call, outcome in zip(phase.calls, phase.outcomes, strict=True) if outcome == "refused"
    ]
    return f"{refused[-1] - phase.calls[0].at:.1f}" if refused else "none refused"


def _resistances(before: list[Phase], after: list[Phase]) -> str:
    rows = [
        [
            then.name,
            len(then.calls),
            *(f"{ohms:.0f} Ω" for side in (then, now) for ohms in _highest_and_last(side)),
        ]
        for then, now in zip(before, after, strict=True)
    ]
    heads = [f"{side}: {what}" for side in ("v1", "the engine") for what in ("highest", "at the end")]
    return _table(["the dependency", "updates", *heads], rows)


def _highest_and_last(phase: Phase) -> tuple[float, float]:
    return max(phase.resistances), phase.resistances[-1]


def _table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)], *rows]
    return "".join("| " + " | ".join(map(str, line)) + " |\n" for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "libraries", nargs="*", metavar="LIBRARY", help=f"{', '.join(COMPARED)} (default: all)"
    )
    parser.add_argument("--recording", type=Path, default=RECORDING, help="a file as record.py prints it")
    parser.add_argument("--write", action="store_true", help="keep the tables in docs/tables/migrating")
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)  # a program's own log is not what is compared
    for library in arguments.libraries or COMPARED:
        text = printed(library, arguments.recording)
        if arguments.write:
            KEPT.mkdir(exist_ok=True)
            (KEPT / f"{library}.txt").write_text(text, encoding="utf-8")
        else:
            print(text)


if __name__ == "__main__":
    main()
