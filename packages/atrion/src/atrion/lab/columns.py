"""Columns of recorded traffic in CSV files."""

from __future__ import annotations

import csv
import math
from datetime import UTC, datetime
from pathlib import Path

from atrion.errors import AtrionError
from atrion.lab.replay import BadTelemetry

__all__ = ["instants", "seconds"]

MOST = 10_000_000
"""Lines of a file at most."""


def _cells(path: Path, column: str) -> list[tuple[int, str]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            names = [name.strip() for name in reader.fieldnames or ()]
            if column not in names:
                raise BadTelemetry(path, 1, column, ",".join(names), "name a column of the first line")
            reader.fieldnames = names
            cells: list[tuple[int, str]] = []
            for row in reader:
                if len(cells) >= MOST:
                    raise BadTelemetry(path, reader.line_num, column, MOST, f"give {MOST:,} lines at most")
                cells.append((reader.line_num, (row[column] or "").strip()))
    except OSError as error:
        raise AtrionError(f"{path} cannot be read: {error.strerror}; give a CSV file") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise AtrionError(f"{path} is no CSV text ({error}); save it as UTF-8 CSV") from error
    if not cells:
        raise BadTelemetry(path, 2, column, "", "give at least one line below the columns' names")
    return cells


def _number(path: Path, line: int, column: str, text: str, low: float, cure: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value < low:
        raise BadTelemetry(path, line, column, text, cure)
    return value


def seconds(path: Path, column: str) -> tuple[float, ...]:
    """Durations in the order of the file, each above 0.

    Raises:
        AtrionError: the file cannot be opened or is not text.
        BadTelemetry: a line is unusable, or there is none.
    """
    cure = "give a number of at least 0.000001, such as 0.045"
    return tuple(_number(path, line, column, text, 1e-6, cure) for line, text in _cells(path, column))


def _instant(path: Path, line: int, column: str, text: str) -> float:
    try:
        date = datetime.fromisoformat(text)
    except ValueError:
        cure = "give seconds, such as 1700000000.25, or a date, such as 2026-01-09T12:00:00.250Z"
        return _number(path, line, column, text, -math.inf, cure)
    return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()


def _seconds_or_date(path: Path, line: int, column: str, text: str) -> float:
    try:
        return float(text) if math.isfinite(float(text)) else _instant(path, line, column, text)
    except ValueError:
        return _instant(path, line, column, text)


def instants(path: Path, column: str) -> tuple[float, ...]:
    """Instants of seconds or ISO 8601 dates, ascending, in seconds since the first; without a zone in UTC.

    Raises:
        AtrionError: the file cannot be opened or is not text.
        BadTelemetry: a line is unusable, or there is none.
    """
    found = sorted(_seconds_or_date(path, line, column, text) for line, text in _cells(path, column))
    return tuple(at - found[0] for at in found)
