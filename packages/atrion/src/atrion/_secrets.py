"""Removes licence keys from messages, wherever one was put by mistake."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["without_licence_keys"]

_LICENCE_KEY: Final = re.compile(r"(atrion_(?:start|pro|ent)_)[A-Za-z0-9_.-]+")


def without_licence_keys(text: str) -> str:
    """The text with each licence key cut down to its prefix."""
    return _LICENCE_KEY.sub(r"\1…", text)
