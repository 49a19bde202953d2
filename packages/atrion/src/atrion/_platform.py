"""What an operating system has or has not, asked in one place."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable

__all__ = ["at_fork", "warn_without_gil"]


def at_fork(
    in_child: Callable[[], None],
    *,
    before: Callable[[], None] | None = None,
    in_parent: Callable[[], None] | None = None,
) -> None:
    """Have ``in_child`` called in every child process that is forked; nothing where processes do not fork."""
    register = getattr(os, "register_at_fork", None)
    if register is not None:
        calls = {"before": before, "after_in_parent": in_parent, "after_in_child": in_child}
        register(**{when: call for when, call in calls.items() if call is not None})


def warn_without_gil() -> None:
    """Say that counters are not exact where several threads run Python at the same instant."""
    enabled = getattr(sys, "_is_gil_enabled", None)
    if enabled is not None and not enabled():
        warnings.warn(
            "Atrion does not support running without the GIL: its counters would not be exact with several threads;"
            " start Python with -X gil=1 or PYTHON_GIL=1",
            RuntimeWarning,
            stacklevel=3,
        )
