"""``Retry-After``, as servers send it."""

from __future__ import annotations

import time
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final

__all__ = ["LONGEST_HOLD", "seconds_of"]

LONGEST_HOLD: Final = 300.0
"""Seconds for which a dependency may ask to be left alone; a longer time is cut to it."""


def seconds_of(retry_after: str | None) -> float | None:
    """Seconds that a ``Retry-After`` asks for, a number or a date, at most 300; None where it is none."""
    if retry_after is None:
        return None
    text = retry_after.strip()
    try:
        seconds = float(text)
    except ValueError:
        try:
            date = parsedate_to_datetime(text)
        except ValueError:
            return None
        seconds = (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - time.time()
    return min(max(seconds, 0.0), LONGEST_HOLD) if seconds == seconds else None  # not NaN
