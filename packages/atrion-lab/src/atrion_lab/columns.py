"""Columns of recorded traffic in CSV files."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from pathlib import Path

from atrion_lab.replay import BadTelemetry, instant, number, reading

__all__ = ["instants", "seconds", "weighted"]

MOST = 10_000_000
"""Lines of a file at most."""


def _cells(path: Path, column: str) -> list[tuple[int, str]]:
    with reading(path), path.open(newline="", encoding="utf-8-sig") as file:
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
    if not cells:
        raise BadTelemetry(path, 2, column, "", "give at least one line below the columns' names")
    return cells


def seconds(path: Path, column: str) -> tuple[float, ...]:
    """Durations in the order of the file, each above 0.

    Raises:
        AtrionError: the file cannot be opened or is not text.
        BadTelemetry: a line is unusable, or there is none.
    """
    cure = "give a number of at least 0.000001, such as 0.045"
    return tuple(number(path, line, column, text, cure, 1e-6) for line, text in _cells(path, column))


def weighted(path: Path, weights: Mapping[str, float]) -> tuple[float, ...]:
    """Durations in the order of the file, in seconds: of each column its value, ≥ 0, times its weight, summed.

    Raises:
        AtrionError: the file cannot be opened or is not text.
        BadTelemetry: a line is unusable or lasts no time, or there is none.
    """
    cure = "give a number of at least 0, such as 374"
    parts = [
        [(line, weight * number(path, line, column, text, cure)) for line, text in _cells(path, column)]
        for column, weight in weights.items()
    ]
    times: list[float] = []
    for row in zip(*parts, strict=True):
        time = math.fsum(part for _, part in row)
        if time < 1e-6:
            cure = "give values that take at least 0.000001 s together"
            raise BadTelemetry(path, row[0][0], ", ".join(weights), time, cure)
        times.append(time)
    return tuple(times)


def instants(path: Path, column: str) -> tuple[float, ...]:
    """Instants of seconds or ISO 8601 dates, ascending, in seconds since the first; without a zone in UTC.

    Raises:
        AtrionError: the file cannot be opened or is not text.
        BadTelemetry: a line is unusable, or there is none.
    """
    found = sorted(instant(path, line, column, text, -math.inf) for line, text in _cells(path, column))
    return tuple(at - found[0] for at in found)
