"""Settings from the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping

from atrion.errors import ConfigurationError

__all__ = ["Switches"]

WORDS = {
    "1": True,
    "true": True,
    "yes": True,
    "on": True,
    "0": False,
    "false": False,
    "no": False,
    "off": False,
}


def switch(name: str, environment: Mapping[str, str]) -> bool | None:
    """What a variable says: True, False, or None where it is unset or empty.

    Raises:
        ConfigurationError: it is neither.
    """
    text = environment.get(name, "").strip()
    if not text:
        return None
    if text.lower() not in WORDS:
        raise ConfigurationError(name, text, "give 1 or 0, or unset it")
    return WORDS[text.lower()]


class Switches:
    """What operators may switch for every engine of a process, whatever its code says.

    Attributes:
        disabled: ``ATRION_DISABLED``: whether engines do nothing at all.
        enforce: ``ATRION_ENFORCE``: False lets every engine decide and count but shed nothing, True enforces, None
            leaves it to the code.

    Raises:
        ConfigurationError: a variable is neither 1 nor 0.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self.disabled: bool = switch("ATRION_DISABLED", environment) is True
        self.enforce: bool | None = switch("ATRION_ENFORCE", environment)
