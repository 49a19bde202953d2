"""Real telemetry played again: what Atrion would have done with it."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from atrion.errors import AtrionError
from atrion.lab.kernel import Simulation
from atrion.lab.metrics import BIN, Recorder, Run
from atrion.lab.policies.atrion import AtrionPolicy
from atrion.lab.policies.port import Call, Policy
from atrion.physics.voltage import Tier
from atrion.sensing.telemetry import Outcome

__all__ = ["BadTelemetry", "Entry", "read", "replay"]

COLUMNS = ("timestamp", "latency", "error", "tier")
TRUE = {"1", "true", "yes", "error", "failure"}
FALSE = {"", "0", "false", "no", "ok", "success"}
LONGEST = 7 * 86400.0
"""Seconds a recording may span."""


class BadTelemetry(AtrionError, ValueError):
    """A recording that cannot be read; the message names file, line, column, value and cure."""

    def __init__(self, path: Path, line: int, column: str, value: object, cure: str) -> None:
        super().__init__(f"{path}, line {line}, column {column}: {value!r} is not usable: {cure}")
        self.line = line
        self.column = column


@dataclass(frozen=True, slots=True, order=True)
class Entry:
    """One recorded call: seconds since the recording's first, seconds it took, whether it failed, its tier."""

    at: float
    latency: float = field(compare=False)
    error: bool = field(compare=False)
    tier: int = field(compare=False)


def number(path: Path, line: int, column: str, text: str, cure: str, low: float = 0.0) -> float:
    """A finite number of at least ``low``.

    Raises:
        BadTelemetry: it is none.
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value < low:
        raise BadTelemetry(path, line, column, text, cure)
    return value


def instant(path: Path, line: int, column: str, text: str, low: float = 0.0) -> float:
    """Seconds since any start, at least ``low``, or a date; one without a zone is taken as UTC.

    Raises:
        BadTelemetry: it is neither.
    """
    try:
        float(text)
    except ValueError:
        try:
            date = datetime.fromisoformat(text.strip())
        except ValueError:
            pass
        else:
            return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    cure = "give seconds, such as 1700000000.25, or a date, such as 2026-01-09T12:00:00.250Z"
    return number(path, line, column, text, cure, low)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Say in words what keeps a file from being read.

    Raises:
        AtrionError: the file cannot be opened or is not text.
    """
    try:
        yield
    except OSError as error:
        raise AtrionError(f"{path} cannot be read: {error.strerror}; give a CSV file") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise AtrionError(f"{path} is no CSV text ({error}); save it as UTF-8 CSV") from error


def _entry(path: Path, line: int, row: dict[str, str]) -> Entry:
    at = instant(path, line, "timestamp", row["timestamp"])
    latency = number(path, line, "latency", row["latency"], "give seconds of at least 0, such as 0.045")
    error = (row.get("error") or "").strip().lower()
    if error not in TRUE | FALSE:
        raise BadTelemetry(path, line, "error", row["error"], "give 0 or 1, true or false")
    tier = (row.get("tier") or "normal").strip().upper()
    if tier not in Tier.__members__:
        names = ", ".join(name.lower() for name in Tier.__members__)
        raise BadTelemetry(path, line, "tier", row["tier"], f"use one of {names}")
    return Entry(at, latency, error in TRUE, int(Tier[tier]))


def _rows(path: Path) -> Iterator[Entry]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        names = [name.strip().lower() for name in reader.fieldnames or ()]
        reader.fieldnames = names
        for column in COLUMNS[:2]:
            if column not in names:
                cure = (
                    f"the first line names the columns {', '.join(COLUMNS)}; error and tier may be left out"
                )
                raise BadTelemetry(path, 1, column, ",".join(names), cure)
        for row in reader:
            line = reader.line_num
            if None in row or any(row.get(column) is None for column in names):
                raise BadTelemetry(
                    path, line, "all", row, f"give {len(names)} values, as the first line does"
                )
            yield _entry(path, line, row)


def read(path: Path) -> list[Entry]:
    """A recording in the order of time, its first call at 0 s.

    Raises:
        AtrionError: the file cannot be opened or is not text.
        BadTelemetry: a line is unusable, or there is none.
    """
    with reading(path):
        entries = sorted(_rows(path))
    if not entries:
        raise BadTelemetry(path, 2, "timestamp", "", "give at least one line below the columns' names")
    first = entries[0].at
    if entries[-1].at - first > LONGEST:
        span = f"{(entries[-1].at - first) / 86400.0:.1f} days"
        raise BadTelemetry(path, 2, "timestamp", span, "give seconds (not milliseconds), a week at most")
    return [Entry(entry.at - first, entry.latency, entry.error, entry.tier) for entry in entries]


def replay(entries: list[Entry], name: str, policy: Policy | None = None) -> Run:
    """Let a policy decide over every recorded call; those it admits take and end as they did.

    What it sheds would have relieved the service, which a recording cannot show: the run is a lower bound of
    the good and an upper bound of the shedding.
    """
    policy = policy or AtrionPolicy()
    seconds = max(entry.at + entry.latency for entry in entries) + 2.0 * BIN
    simulation = Simulation()
    tape = _Tape(simulation, policy, Recorder(seconds))
    for entry in entries:
        simulation.at(entry.at, tape.arrive, entry)
    simulation.at(0.0, tape.sample)
    simulation.run(seconds)
    served = sum(not entry.error for entry in entries)
    return Run.of(name, policy.name, 0, seconds, served / seconds, tape.recorder)


class _Tape:
    """The recording as it plays."""

    def __init__(self, simulation: Simulation, policy: Policy, recorder: Recorder) -> None:
        self._simulation = simulation
        self._policy = policy
        self.recorder = recorder

    def arrive(self, entry: Entry) -> None:
        """A recorded call asks."""
        now = self._simulation.now
        recorder = self.recorder
        slot = recorder.slot(entry.tier, now)
        recorder.offered[slot] += 1
        recorder.attempts[slot] += 1
        call = Call("replay", entry.tier, None, now, now + entry.latency, entry.latency, request=entry)
        if self._policy.arrive(call, now):
            recorder.admit(call, now)
            self._simulation.at(now + entry.latency, self._end, call)
        else:
            recorder.reject(call, now)

    def _end(self, call: Call) -> None:
        now = self._simulation.now
        entry: Entry = call.request
        outcome = Outcome.FAILURE if entry.error else Outcome.SUCCESS
        recorder = self.recorder
        self._policy.finish(call, outcome, now)
        recorder.finish(call, outcome, now)
        if entry.error:
            recorder.failed[recorder.slot(entry.tier, now)] += 1
        else:
            recorder.good[recorder.slot(entry.tier, now)] += 1
            recorder.kept[recorder.slot(entry.tier, entry.at)] += 1

    def sample(self, _: object) -> None:
        """Note what the policy thinks, once a bin."""
        now = self._simulation.now
        sample = getattr(self._policy, "sample", None)
        if sample is not None:
            for route, parts in sample(now).items():
                self.recorder.samples.append((now, "0", route, parts))
        self._simulation.at(now + BIN, self.sample)
