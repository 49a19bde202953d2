"""One run: every case in this interpreter, memory in fresh ones, and the pure source in another one."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from benchmarks import memory
from benchmarks.cases import CASES, FLATNESS, MEMORY_CASE, Case, subjects_of
from benchmarks.guards import Guard
from benchmarks.libraries import OURS
from benchmarks.measure import BARE, FULL, QUICK, Subject, run_group
from benchmarks.report import Row, flatness_rows, lightest_peers, with_ratios

_CHILD_TIMEOUT = 600.0  # seconds


class Progress:
    """What is being measured, on one line of standard error while that is a terminal."""

    def __init__(self) -> None:
        self._shown = sys.stderr.isatty()

    def show(self, text: str) -> None:
        if self._shown:
            sys.stderr.write(f"\r\x1b[K{text}")
            sys.stderr.flush()

    def round(self, label: str, done: int, rounds: int) -> None:
        self.show(f"{label}: round {done} of {rounds}")

    def clear(self) -> None:
        self.show("")


@dataclass(slots=True)
class Result:
    """Rows, bare calls (nanoseconds by case), notes, and a sentence for each number that is missing."""

    rows: list[Row] = field(default_factory=list)
    bare: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to measure. With yardsticks, a case needs no library but Atrion and the peer named for it."""

    cases: tuple[str, ...]
    quick: bool = False
    yardsticks: dict[str, str] | None = None

    def libraries(self, case: str, guards: Sequence[Guard]) -> list[Guard]:
        if self.yardsticks is None:
            return list(guards)
        return [guard for guard in guards if guard.name in (OURS, self.yardsticks.get(case))]


def run_here(wanted: Wanted, guards: Sequence[Guard], progress: Progress) -> Result:
    """Measure in this interpreter; the ratios are to the lightest peer measured here."""
    result = Result()
    builds = {guard.name: guard.build for guard in guards}
    groups: dict[str, list[Case]] = {}
    for case in CASES:
        if case.name in wanted.cases:
            groups.setdefault(case.group, []).append(case)
    with asyncio.Runner() as runner:
        for number, (group, cases) in enumerate(groups.items(), start=1):
            label = f"[{number}/{len(groups)}] {group}"
            progress.show(f"{label}: warming up")
            subjects = [
                subject
                for case in cases
                for subject in subjects_of(case, wanted.libraries(case.name, guards), runner)
            ]
            plan = QUICK if wanted.quick else FULL
            run_group(subjects, plan, partial(progress.round, label))
            _collect(subjects, builds, result)
    result.rows += flatness_rows(result.rows)
    if MEMORY_CASE in wanted.cases:
        _measure_memory(wanted.libraries(MEMORY_CASE, guards), progress, result)
    result.rows = with_ratios(result.rows, lightest_peers(result.rows))
    progress.clear()
    return result


def run_there(python: Path, wanted: Wanted, here: Result, progress: Progress) -> Result:
    """Measure Atrion in another interpreter, each case beside the peer that was the lightest here."""
    result = Result()
    progress.show(f"the same with {python}")
    lightest = lightest_peers(here.rows)
    command = [str(python.absolute()), "-m", "benchmarks", "--json", "--ours-only"]
    if wanted.quick:
        command.append("--quick")
    for case in wanted.cases:
        command += ["--case", case]
        if case in lightest and case != MEMORY_CASE:
            command += ["--yardstick", f"{case}={lightest[case].library}"]
    try:
        child = subprocess.run(
            command, cwd=memory.ROOT, stdout=subprocess.PIPE, text=True, timeout=_CHILD_TIMEOUT, check=False
        )
        rows = [Row.from_dict(found) for found in json.loads(child.stdout)]
    except (OSError, subprocess.TimeoutExpired, ValueError) as error:
        result.troubles.append(f"{python} measured nothing: {error}")
        return result
    finally:
        progress.clear()
    if child.returncode != 0:
        result.troubles.append(f"{python} could not measure everything, see above.")
    ours = [row for row in rows if row.library == OURS]
    if {row.build for row in ours} & {row.build for row in here.rows if row.library == OURS}:
        result.notes.append(f"{python} has the same build of {OURS} as this interpreter: not shown twice.")
        return result
    result.rows = with_ratios(ours, lightest)  # a yardstick that is missing there is replaced by the one here
    return result


def _collect(subjects: Sequence[Subject], builds: dict[str, str], result: Result) -> None:
    for subject in subjects:
        if subject.library == BARE and subject.ns is not None:
            result.bare[subject.case] = subject.ns
    for subject in subjects:
        if subject.library == BARE:
            continue
        bare = result.bare.get(subject.case)
        if subject.ns is None or bare is None:
            reason = subject.trouble or "too few batches"
            result.troubles.append(f"{subject.case} of {subject.library} could not be measured: {reason}.")
            continue
        ns = round(subject.ns if subject.paired else subject.ns - bare, 1)
        result.rows.append(Row(subject.case, subject.library, builds[subject.library], ns))


def _measure_memory(guards: Sequence[Guard], progress: Progress, result: Result) -> None:
    """As many processes at a time as there are processors: nothing here depends on time."""
    guards = [guard for guard in guards if type(guard).populate is not Guard.populate]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        running = {pool.submit(memory.measure, guard.name): guard for guard in guards}
        for done, future in enumerate(as_completed(running), start=1):
            guard = running[future]
            progress.show(f"memory of {memory.COUNT:,} routes: {done} of {len(guards)}")
            try:
                found = future.result()
            except RuntimeError as error:
                result.troubles.append(f"{MEMORY_CASE} of {guard.name} could not be measured: {error}.")
                continue
            extra = {"bytes": found.resident, "traced_bytes": found.traced}
            result.rows.append(Row(MEMORY_CASE, guard.name, guard.build, ns=None, extra=extra))


def all_cases() -> tuple[str, ...]:
    """The names that `--case` knows."""
    return (*(case.name for case in CASES), MEMORY_CASE)


def needed_for(names: Sequence[str]) -> tuple[str, ...]:
    """The named cases in the order of the report; a derived case stands for the two it is derived from."""
    wanted: set[str] = set()
    for name in names:
        wanted.update(FLATNESS.get(name, (name,)))
    return tuple(name for name in all_cases() if name in wanted)
