"""Hooks: what an observer hears of a route. A broken observer never breaks its host."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from atrion._plain import Plain
from atrion.control.decision import Decision
from atrion.control.route import Route
from atrion.control.snapshot import RouteState, snapshot_of
from atrion.physics.modes import Mode, mode_of

__all__ = ["Observer", "Observers", "Transition"]

logger: logging.Logger = logging.getLogger("atrion")


@dataclass(frozen=True, slots=True)
class Transition(Plain):
    """A route changed its mode; ``resistance`` in ohms at that tick."""

    route: str
    before: Mode
    after: Mode
    resistance: float


class Observer(Protocol):
    """What may be heard; called in the thread of the request, so it should be quick."""

    def on_tick(self, state: RouteState) -> None:
        """The law advanced."""

    def on_decision(self, decision: Decision) -> None:
        """A request asked, and this was the answer."""

    def on_transition(self, transition: Transition) -> None:
        """A route changed its mode."""


class Observers:
    """The observers of one engine; what one of them raises is counted, and logged the first time."""

    def __init__(self) -> None:
        self.failures: int = 0
        self._observers: tuple[Observer, ...] = ()

    def add(self, observer: Observer) -> Callable[[], None]:
        """Let an observer hear; returns what ends that."""
        self._observers = (*self._observers, observer)

        def remove() -> None:
            self._observers = tuple(other for other in self._observers if other is not observer)

        return remove

    def __bool__(self) -> bool:
        return bool(self._observers)

    def _tell(self, call: Callable[[Observer], None]) -> None:
        for observer in self._observers:
            try:
                call(observer)
            except Exception:
                self.failures += 1
                if self.failures == 1:
                    logger.exception("an observer failed; it is counted and requests go on")

    def ticked(self, route: Route, before: int) -> None:
        """A route's law advanced from the mode of index ``before``."""
        if not self._observers:
            return
        state = snapshot_of(route)
        self._tell(lambda observer: observer.on_tick(state))
        if mode_of(before) is not state.mode:
            transition = Transition(route.id, mode_of(before), state.mode, state.resistance)
            self._tell(lambda observer: observer.on_transition(transition))

    def decided(self, decision: Decision) -> None:
        """A request was answered."""
        self._tell(lambda observer: observer.on_decision(decision))
