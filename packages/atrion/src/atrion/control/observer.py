"""Observers of ticks, decisions and changes of mode. A failing observer never affects requests."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

from atrion._plain import Plain
from atrion.control.decision import Decision, Reason
from atrion.control.listener import RouteListener
from atrion.control.reasons import rejection
from atrion.control.route import Route
from atrion.control.snapshot import RouteSnapshot, snapshot_of
from atrion.errors import ConfigurationError
from atrion.physics.modes import Mode, mode_of

__all__ = [
    "AnyObserver",
    "DecisionObserver",
    "Observer",
    "Observers",
    "ShedObserver",
    "TickObserver",
    "Transition",
    "TransitionObserver",
]

logger: logging.Logger = logging.getLogger("atrion")


@dataclass(frozen=True, slots=True)
class Transition(Plain):
    """A change of a route's mode; ``resistance`` in ohms at that tick."""

    route: str
    before: Mode
    after: Mode
    resistance: float


class Observer:
    """The methods of an observer. They are called in the thread of the request, so they should be fast.

    Implement any of them, in a subclass or in any other class.
    """

    def on_tick(self, state: RouteSnapshot) -> None:
        """The law advanced."""

    def on_decision(self, decision: Decision) -> None:
        """A decision was made."""

    def on_shed(self, decision: Decision) -> None:
        """A request was shed, or would be without shadow mode.

        Unlike :meth:`on_decision`, this costs next to nothing where requests flow.
        """

    def on_transition(self, transition: Transition) -> None:
        """A route has changed its mode."""


class TickObserver(Protocol):
    """An observer of ticks."""

    def on_tick(self, state: RouteSnapshot, /) -> None:
        """The law advanced."""


class DecisionObserver(Protocol):
    """An observer of decisions."""

    def on_decision(self, decision: Decision, /) -> None:
        """A decision was made."""


class ShedObserver(Protocol):
    """An observer of shed requests."""

    def on_shed(self, decision: Decision, /) -> None:
        """A request was shed, or would be without shadow mode."""


class TransitionObserver(Protocol):
    """An observer of changes of mode."""

    def on_transition(self, transition: Transition, /) -> None:
        """A route has changed its mode."""


AnyObserver = Observer | TickObserver | DecisionObserver | ShedObserver | TransitionObserver


_METHODS: Final = ("on_tick", "on_decision", "on_shed", "on_transition")


def _own_method(observer: object, name: str) -> Callable[[Any], None] | None:
    """The observer's own method of a name, or None."""
    method = getattr(observer, name, None)
    if not callable(method) or getattr(method, "__func__", None) is getattr(Observer, name):
        return None
    own: Callable[[Any], None] = method
    return own


class Observers:
    """The observers of one engine. Their exceptions are counted, and the first one is logged."""

    def __init__(self, listener: RouteListener) -> None:
        self.failures: int = 0
        self._listener = listener
        self._observers: tuple[object, ...] = ()
        self._ticks: tuple[Callable[[Any], None], ...] = ()
        self._decisions: tuple[Callable[[Any], None], ...] = ()
        self._sheds: tuple[Callable[[Any], None], ...] = ()
        self._transitions: tuple[Callable[[Any], None], ...] = ()

    def add(self, observer: AnyObserver) -> Callable[[], None]:
        """Add an observer; returns a function that removes it.

        Raises:
            ConfigurationError: it has none of the methods.
        """
        if not any(_own_method(observer, name) for name in _METHODS):
            raise ConfigurationError(
                "observer",
                observer,
                "give an object with a method on_tick, on_decision, on_shed or on_transition",
            )
        self._set((*self._observers, observer))
        return lambda: self._set(tuple(other for other in self._observers if other is not observer))

    def _set(self, observers: tuple[object, ...]) -> None:
        self._observers = observers
        self._ticks, self._decisions, self._sheds, self._transitions = (
            tuple(method for observer in observers if (method := _own_method(observer, name)) is not None)
            for name in _METHODS
        )
        # Changes of mode come with ticks.
        self._listener.wants_ticks = bool(self._ticks or self._transitions)
        self._listener.wants_decisions = bool(self._decisions)
        self._listener.wants_sheds = bool(self._sheds)

    @property
    def wants_sheds(self) -> bool:
        """Whether any observer is told of shed requests."""
        return bool(self._sheds)

    def _notify(self, methods: tuple[Callable[[Any], None], ...], event: object) -> None:
        for method in methods:
            try:
                method(event)
            except Exception:
                self.failed()

    def failed(self) -> None:
        """Count the exception being handled, and log the first one."""
        self.failures += 1
        if self.failures == 1:
            text = "an observer failed; it is counted and requests go on"
            logger.error(text, exc_info=True)  # noqa: LOG014  # the exception is being handled

    def ticked(self, route: Route, mode_before: int) -> None:
        """A route's law advanced; before it, the mode had this index."""
        if self._ticks:
            self._notify(self._ticks, snapshot_of(route))
        before, after = mode_of(mode_before), route.model.state.mode
        if self._transitions and before is not after:
            self._notify(self._transitions, Transition(route.id, before, after, route.resistance()))

    def decided(self, decision: Decision) -> None:
        """A decision was made."""
        self._notify(self._decisions, decision)

    def shed(self, route: Route, volts: float, reason: Reason | None) -> None:
        """A request of ``volts`` was shed, or would be without shadow mode."""
        decision = rejection(route, volts)
        if reason is Reason.DEADLINE:
            decision = Decision(False, route.id, decision.resistance, volts, int(decision.mode), reason, 0.0)
        self._notify(self._sheds, decision)
