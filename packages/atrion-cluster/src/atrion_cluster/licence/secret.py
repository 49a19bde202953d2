"""Text that is never shown whole, neither by ``repr`` and ``str`` nor by tools that print local variables."""

from __future__ import annotations

import re

__all__ = ["Secret", "masked"]

_SHOWN = re.compile(r"atrion_[a-z]{1,8}_")


def masked(text: object) -> str:
    """A licence key as it may be shown: its prefix alone."""
    found = _SHOWN.match(text) if isinstance(text, str) else None
    return f"{found[0]}…" if found else "…"


class Secret:
    """Holds a text; only :meth:`reveal` returns it."""

    __slots__ = ("_text",)

    def __init__(self, text: object) -> None:
        self._text = text

    def reveal(self) -> object:
        """What it holds."""
        return self._text

    def __repr__(self) -> str:
        return f"<{masked(self._text)}>"

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("a secret is not pickled")
