"""What providers of language models say in headers: what is left of their rate limits, and when to retry.

Headers come from outside. One that makes no sense is as good as none; nothing here raises.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final, NamedTuple

from atrion.integrations._retry_after import LONGEST_HOLD, seconds_of

__all__ = ["INPUT", "MOST_LIMITS", "OUTPUT", "REQUESTS", "TOKENS", "Report", "duration", "reports", "wait"]

# What a limit counts.
REQUESTS: Final = 0
TOKENS: Final = 1
INPUT: Final = 2
OUTPUT: Final = 3

MOST_LIMITS: Final = 8
"""Limits that are read from one answer: providers have up to six."""
MOST: Final = 1e15
LONGEST_TEXT: Final = 64
OPENAI: Final = re.compile(r"x-ratelimit-(limit|remaining|reset)-([a-z_-]*(?:requests|tokens)[a-z_-]*)")
ANTHROPIC: Final = re.compile(
    r"anthropic-ratelimit-((?:input-|output-)?tokens|requests)-(limit|remaining|reset)"
)
UNITS: Final = {
    "ms": 1e-3,
    "us": 1e-6,
    "µs": 1e-6,
    "ns": 1e-9,
    "d": 86400.0,
    "h": 3600.0,
    "m": 60.0,
    "s": 1.0,
}
PART: Final = r"(\d+(?:\.\d+)?)(ms|us|µs|ns|d|h|m|s)"
DURATION: Final = re.compile(f"(?:{PART})+")
EPOCH: Final = 1e6
"""Seconds from which on a number is a date and no duration."""


class Report(NamedTuple):
    """What an answer says of one limit: its size, None if that is unknown, what remains, and when all of it is back."""

    unit: int
    limit: float | None
    remaining: float
    reset: float | None


def reports(headers: Mapping[str, str]) -> dict[str, Report]:
    """What is said of each limit, by its name; limits of which nobody knows what remains are left out."""
    found: dict[str, dict[str, str]] = {}
    for header, value in headers.items():
        match = OPENAI.fullmatch(header.lower())
        if match is not None:
            what, name = match.groups()
        else:
            match = ANTHROPIC.fullmatch(header.lower())
            if match is None:
                continue
            name, what = match.groups()
        if name in found or len(found) < MOST_LIMITS:
            found.setdefault(name, {})[what] = value
    date = headers.get("date")
    told = {}
    for name, said in found.items():
        remaining, limit = _amount(said.get("remaining")), _amount(said.get("limit"))
        if remaining is not None and limit != 0.0:
            if limit is not None:
                remaining = min(remaining, limit)
            told[name] = Report(_unit(name), limit, remaining, _reset(said.get("reset"), date))
    return told


def wait(headers: Mapping[str, str]) -> float | None:
    """Seconds that an answer asks to wait, at most 300; None if neither ``retry-after-ms`` nor ``retry-after`` does."""
    milliseconds = _amount(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return min(milliseconds / 1000.0, LONGEST_HOLD)
    text = headers.get("retry-after")
    if text is None or len(text) > LONGEST_TEXT:
        return None
    until, now = _http_date(text), _http_date(headers.get("date"))
    if until is not None and now is not None:  # both by the provider's clock
        return min(max((until - now).total_seconds(), 0.0), LONGEST_HOLD)
    return seconds_of(text)


def duration(text: str) -> float | None:
    """Seconds of a duration such as ``6m0s``, ``20ms`` or ``59``; None if it is none."""
    text = text.strip()
    if len(text) > LONGEST_TEXT:
        return None
    if DURATION.fullmatch(text):
        return sum(float(number) * UNITS[unit] for number, unit in re.findall(PART, text))
    seconds = _amount(text)
    return None if seconds is None or seconds >= EPOCH else seconds


def _reset(text: str | None, date: str | None) -> float | None:
    """Seconds until a limit is whole again; 0 and what is no time are unknown.

    A date is compared with that of the answer, which is of the same clock: this machine's may be wrong.
    """
    if text is None or len(text) > LONGEST_TEXT:
        return None
    seconds = duration(text)
    now = _http_date(date)
    if seconds is None and now is not None:
        try:
            until = datetime.fromisoformat(text.strip())
            seconds = (until if until.tzinfo else until.replace(tzinfo=UTC)).timestamp() - now.timestamp()
        except (ValueError, OverflowError):
            return None
    return seconds if seconds is not None and seconds > 0.0 else None


def _http_date(text: str | None) -> datetime | None:
    if text is None or len(text) > LONGEST_TEXT:
        return None
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)


def _amount(text: str | None) -> float | None:
    """A number of at least 0; -1 and what is no number are unknown."""
    if text is None or len(text) > LONGEST_TEXT:
        return None
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and 0.0 <= value <= MOST else None


def _unit(name: str) -> int:
    if "requests" in name:
        return REQUESTS
    return INPUT if "input" in name else OUTPUT if "output" in name else TOKENS
