"""Which of the refused requests may pass after all, so that a sick route is still measured and can come back."""

from __future__ import annotations

from typing import final

from atrion._native import mypyc_attr

__all__ = ["Probes"]

ASKS = 64
"""One refused request in this many may pass."""
PATIENCE = 2.0
"""Seconds after which one in PATIENT_ASKS may, so that quiet routes recover too."""
PATIENT_ASKS = 5
IDLE = 300.0
"""Seconds without any evidence after which the next one passes."""
INTERVAL = 0.1
"""Least seconds between probes: at most ten a second."""


@mypyc_attr(acyclic=True)
@final
class Probes:
    """Probes of one route. Times in seconds."""

    __slots__ = ("_asks", "_last", "invited")

    def __init__(self, now: float) -> None:
        self._asks: int = 0
        self._last: float = now - INTERVAL  # none was sent yet, so none need wait
        self.invited: bool = False
        """Whether a router has been told to send one: the next refused request then passes."""

    def restart(self, now: float) -> None:
        """The clock has gone back to ``now``."""
        self._last = now

    def answer_invitation(self) -> bool:
        """Whether this request is the invited one."""
        invited = self.invited
        self.invited = False
        return invited

    def passes(self, now: float, silent: float, crowded: bool) -> bool:
        """Whether this refused request is a probe: ``silent`` seconds have gone without evidence.

        ``crowded``: enough is in flight to be measured by.
        """
        self._asks += 1
        since = now - self._last
        if since < INTERVAL or crowded:
            return False
        patient = since >= PATIENCE and self._asks >= PATIENT_ASKS
        if not (self._asks >= ASKS or patient or silent >= IDLE):
            return False
        self._asks = 0
        self._last = now
        return True
