"""Suggestions for unknown names."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["cure_for"]


def cure_for(name: str, known: Iterable[str], listed_by: str = "atrion lab list") -> str:
    """How to cure an unknown name: the nearest of those that are ``known``, or where they are listed."""
    near = difflib.get_close_matches(name, list(known), 1)
    return (
        f"did you mean {near[0]}? `{listed_by}` names them all" if near else f"`{listed_by}` names them all"
    )
