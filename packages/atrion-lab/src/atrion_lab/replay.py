"""Recorded calls as a scenario: what admission control would have done with them."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from atrion.errors import AtrionError, ConfigurationError
from atrion.physics.voltage import Tier
from atrion_lab import fifo
from atrion_lab.arrivals import Instants
from atrion_lab.clients import Traffic
from atrion_lab.metrics import BIN
from atrion_lab.scenario import Scenario
from atrion_lab.services import Phase, Recorded, Server

__all__ = ["BadTelemetry", "Entry", "read", "recorded"]

COLUMNS = ("timestamp", "latency", "service", "error", "tier")
TRUE = {"1", "true", "yes", "error", "failure"}
FALSE = {"", "0", "false", "no", "ok", "success"}
LONGEST = 7 * 86400.0
"""Seconds a recording may span."""
SHORTEST = 1e-6
"""Seconds of service at least."""
FAILING, WELL = 0.0, 0.999
"""The luck of a call that failed, and of one that did not; a server's failing share is between the two."""


class BadTelemetry(AtrionError, ValueError):
    """A recording that cannot be read; the message names file, line, column, value and cure."""

    def __init__(self, path: Path, line: int, column: str, value: object, cure: str) -> None:
        super().__init__(f"{path}, line {line}, column {column}: {value!r} is not usable: {cure}")
        self.line = line
        self.column = column


@dataclass(frozen=True, slots=True, order=True)
class Entry:
    """One recorded call.

    Attributes:
        at: Seconds since the recording's first call.
        error: Whether it failed.
        tier: 0 (bulk) to 4 (critical).
        latency: Seconds from its arrival to its end, ≥ 0, or None where the file does not tell.
        service: Seconds of work it took without any wait, > 0, or None likewise.
    """

    at: float
    error: bool = field(compare=False)
    tier: int = field(compare=False)
    latency: float | None = field(default=None, compare=False)
    service: float | None = field(default=None, compare=False)


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
    latency = service = None
    if "latency" in row:
        latency = number(path, line, "latency", row["latency"], "give seconds of at least 0, such as 0.045")
    if "service" in row:
        cure = f"give seconds of at least {SHORTEST:f}, such as 0.045"
        service = number(path, line, "service", row["service"], cure, SHORTEST)
    error = (row.get("error") or "").strip().lower()
    if error not in TRUE | FALSE:
        raise BadTelemetry(path, line, "error", row["error"], "give 0 or 1, true or false")
    tier = (row.get("tier") or "normal").strip().upper()
    if tier not in Tier.__members__:
        names = ", ".join(name.lower() for name in Tier.__members__)
        raise BadTelemetry(path, line, "tier", row["tier"], f"use one of {names}")
    return Entry(at, error in TRUE, int(Tier[tier]), latency, service)


def _rows(path: Path) -> Iterator[Entry]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        names = [name.strip().lower() for name in reader.fieldnames or ()]
        reader.fieldnames = names
        if "timestamp" not in names:
            cure = f"the first line names the columns {', '.join(COLUMNS)}; all but timestamp may be left out"
            raise BadTelemetry(path, 1, "timestamp", ",".join(names), cure)
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
    return [replace(entry, at=entry.at - first) for entry in entries]


def recorded(
    entries: Sequence[Entry],
    name: str,
    *,
    workers: int | None = None,
    service: float | None = None,
    deadline: float | None = None,
    scale: float = 1.0,
) -> Scenario:
    """A recording as a scenario, ``scale`` times as fast as it was.

    With ``workers`` its calls queue for them, and take ``service`` seconds each, or as long as its column of service
    times says, or else what its latencies leave when the wait for these workers is taken out. Without, each takes its
    latency, whatever else is admitted.
    An answer later than ``deadline`` seconds is late; without one none is.

    Raises:
        ConfigurationError: the recording and what is given do not suffice, or contradict each other.
    """
    at = [entry.at / scale for entry in entries]
    if workers is None:
        times = _as_they_were(entries, service, scale)
        workers = fifo.in_flight(at, times)
    else:
        times = _work(entries, workers, service)
    times = [max(each, SHORTEST) for each in times]
    end = max(map(sum, zip(at, times, strict=True)))
    # Until the queue of those who refuse nobody is empty, or as long again as the recording.
    seconds = max(end, min(fifo.drained(at, times, workers), 2.0 * end)) + 2.0 * BIN
    told = tuple((entry.tier, FAILING if entry.error else WELL) for entry in entries)
    traffic = Traffic(arrivals=Instants(tuple(at)), told=told, keys=0, deadline=deadline or seconds)
    server = Server(workers=workers, law=Recorded(tuple(times)), fails=True, phases=_health(entries, scale))
    return Scenario(
        name=name,
        about="recorded calls, decided again",
        seconds=seconds,
        window=(0.0, seconds),
        servers={"api": server},
        traffic=(traffic,),
    )


def _latencies(entries: Sequence[Entry]) -> list[float] | None:
    """Recorded latencies, or None where the file tells none."""
    found = [entry.latency for entry in entries if entry.latency is not None]
    return found if len(found) == len(entries) else None


def _as_they_were(entries: Sequence[Entry], service: float | None, scale: float) -> list[float]:
    """Latencies that nothing changes; what would change them needs workers."""
    cure = "say how many calls the service works on at once: --workers N"
    if service is not None:
        raise ConfigurationError("--service", service, f"calls of that length wait for workers; {cure}")
    if scale != 1.0:
        raise ConfigurationError("--scale", scale, f"other traffic would have made another queue; {cure}")
    times = _latencies(entries)
    if times is None:
        raise ConfigurationError("--workers", None, f"the file has no column latency to replay; {cure}")
    return times


def _work(entries: Sequence[Entry], workers: int, service: float | None) -> list[float]:
    """Seconds of work of each call: as told, as recorded, or what its latency leaves without the wait."""
    if service is not None:
        return [service] * len(entries)
    told = [entry.service for entry in entries if entry.service is not None]
    if len(told) == len(entries):
        return told
    latencies = _latencies(entries)
    if latencies is None:
        cure = "the file has neither a column service nor latency: add one, in seconds, or give --service SECONDS"
        raise ConfigurationError("--service", None, cure)
    at = [entry.at for entry in entries]
    found = fifo.services(at, latencies, workers)
    odd = fifo.impossible(found)
    if odd:
        cure = (
            f"{odd:,} of {len(found):,} calls ended before one of so few workers was free to begin; give --workers "
            f"{fifo.enough(at, latencies, workers)} or more, or the work itself as a column service or by --service"
        )
        raise ConfigurationError("--workers", workers, cure)
    return found


def _health(entries: Sequence[Entry], scale: float) -> tuple[Phase, ...]:
    """The share that failed, from each second in which calls came; empty where none failed.

    Which calls fail is their luck, so the share may be anything above FAILING, and must be below WELL.
    """
    if not any(entry.error for entry in entries):
        return ()
    counts: dict[int, list[int]] = {}
    for entry in entries:
        seen = counts.setdefault(int(entry.at), [0, 0])
        seen[entry.error] += 1
    phases: list[Phase] = []
    for second, (good, bad) in counts.items():
        fail = min(max(bad / (good + bad), 1e-9), 0.998)
        if not phases or phases[-1].fail != fail:
            phases.append(Phase(start=second / scale, fail=fail))
    return tuple(phases)
