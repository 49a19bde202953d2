"""Hooks that do not keep alive whom they call."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

__all__ = ["weakly"]


def weakly(method: Callable[..., None]) -> Callable[..., None]:
    """Call a bound ``method`` for as long as its object is held by somebody else.

    A route's hooks lead to what belongs to the engine. A flow is not seen by the collector of cycles, for the sake of
    its speed, so a flow that an observer keeps must not lead back to the engine.
    """
    reference = weakref.WeakMethod(method)

    def call(*arguments: Any) -> None:
        held = reference()
        if held is not None:
            held(*arguments)

    return call
