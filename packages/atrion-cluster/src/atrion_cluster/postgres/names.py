r"""Route ids as text of the database, which holds neither NUL nor lone surrogates; the rest stays readable.

``\`` becomes ``\\``, NUL becomes ``\0``, and a lone surrogate becomes ``\uXXXX``.
"""

from __future__ import annotations

import re

__all__ = ["LONGEST", "from_text", "to_text"]

LONGEST = 2048
"""Most bytes of a route id as text: 256 characters, each escaped."""
_ESCAPE = re.compile(r"\\(\\|0|u[0-9a-f]{4})")


def to_text(route: str) -> str:
    """A route id as text."""
    escaped = route.replace("\\", "\\\\").replace("\0", "\\0")
    return escaped.encode("utf-8", "backslashreplace").decode()


def from_text(text: str) -> str:
    """The route id of a text."""
    return _ESCAPE.sub(_meant, text)


def _meant(found: re.Match[str]) -> str:
    code = found[1]
    if code == "\\":
        return "\\"
    return "\0" if code == "0" else chr(int(code[1:], 16))
