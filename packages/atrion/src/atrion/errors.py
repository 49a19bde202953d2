"""The errors that Atrion raises, all subclasses of :class:`AtrionError`.

Each one pickles and compares equal to its copy: everything it consists of is in ``args``.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from atrion._secrets import without_licence_keys

if TYPE_CHECKING:
    from atrion.control.decision import Decision

__all__ = [
    "AtrionError",
    "ConfigurationError",
    "FlowRejected",
    "LeaseCancelled",
    "MissingExtraError",
    "ProviderError",
]


class AtrionError(Exception):
    """Base of every error that Atrion raises."""

    def as_dict(self) -> dict[str, Any]:
        """The error as data that ``json.dumps`` takes: ``error`` is its class, ``message`` its text."""
        return {"error": type(self).__name__, "message": str(self)}

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.args == other.args

    def __hash__(self) -> int:
        return hash((type(self), str(self)))


class _Shown(str):
    """Replaces a value that cannot be pickled or must not be shown, and has its ``repr()``."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


class ConfigurationError(AtrionError, ValueError):
    """A value given to Atrion is unusable; the message names the field, the value and what to do about it.

    A ``cure`` such as "give a number in [0, 1]" reads as "gamma must be a number in [0, 1], got 2". Any other follows
    the value: "redis.db = 3: a cluster has database 0 alone". A licence key in the value is not kept.
    """

    def __init__(self, field: str, value: object, cure: str) -> None:
        if isinstance(value, (str, Mapping, list, tuple)):
            shown = without_licence_keys(repr(value))
            if shown != repr(value):
                value = _Shown(shown)
        super().__init__(field, value, cure)

    @property
    def field(self) -> str:
        """The name of the value."""
        return str(self.args[0])

    @property
    def value(self) -> Any:
        """The value; its text if it could not be pickled."""
        return self.args[1]

    @property
    def cure(self) -> str:
        """What to do instead."""
        return str(self.args[2])

    def as_dict(self) -> dict[str, Any]:
        """As of every error, with ``field``, ``value`` as text, and ``cure``."""
        return {**super().as_dict(), "field": self.field, "value": repr(self.value), "cure": self.cure}

    def __reduce__(self) -> tuple[Any, ...]:
        value = self.value
        try:
            pickle.dumps(value)
        except Exception:
            value = _Shown(repr(value))
        return type(self), (self.field, value, self.cure)

    def __str__(self) -> str:
        verb, _, expected = self.cure.partition(" ")
        if verb == "give" or self.cure.startswith("use one of "):
            return f"{self.field} must be {expected}, got {self.value!r}"
        return f"{self.field} = {self.value!r}: {self.cure}"


class MissingExtraError(AtrionError, ImportError):
    """An optional integration is not installed; the message names the pip command."""

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(feature, extra)

    def __str__(self) -> str:
        feature, extra = self.args
        return f'{feature} needs an optional extra: pip install "atrion[{extra}]"'


class ProviderError(AtrionError):
    """A state provider failed. Raised by providers that are called directly, never by a guarded call."""


class LeaseCancelled(AtrionError):
    """A lease was cancelled: its budget or its swarm's is used up, or it did not stop when it was asked to.

    Raised where an ``async with`` block of a lease is left, and by ``lease.check()``.
    """

    def __init__(
        self, route: str, reason: str, resource: str = "", used: float = 0.0, limit: float = 0.0
    ) -> None:
        super().__init__(route, reason, resource, used, limit)

    @property
    def route(self) -> str:
        """The lease's route."""
        return str(self.args[0])

    @property
    def reason(self) -> str:
        """``budget`` if a budget is used up; ``culprit`` or ``swarm`` if the lease was asked to stop, and did not."""
        return str(self.args[1])

    @property
    def resource(self) -> str:
        """The resource whose budget is used up; empty if that is not why."""
        return str(self.args[2])

    def as_dict(self) -> dict[str, Any]:
        """As of every error, with ``route``, ``reason``, ``resource``, ``used`` and ``limit``."""
        names = ("route", "reason", "resource", "used", "limit")
        return {**super().as_dict(), **dict(zip(names, self.args, strict=True))}

    def __str__(self) -> str:
        route, reason, resource, used, limit = self.args
        if resource:
            return f"{route}: the lease was cancelled after {used:g} of {limit:g} {resource}"
        why = "a swarm's budget runs out" if reason == "swarm" else "it holds what other calls wait for"
        return f"{route}: the lease was cancelled because it did not stop when asked to ({why})"


class FlowRejected(AtrionError):
    """The request was shed. This is the only error that a guarded call raises by itself.

    ``error.decision`` is the :class:`~atrion.Decision`, with its reason and ``retry_after`` in seconds.
    """

    decode: ClassVar[Callable[[Mapping[str, Any]], Decision]]
    """Builds a decision from plain data; set by the module that defines decisions, which imports this one."""

    # No __init__: a rejection must cost less than the work it saves, and the text is rarely read.

    @property
    def decision(self) -> Decision:
        """The decision that shed the request."""
        decision: Decision | Mapping[str, Any] = self.args[0]
        if isinstance(decision, Mapping):  # it came as JSON
            return type(self).decode(decision)
        return decision

    def as_dict(self) -> dict[str, Any]:
        """As of every error, with the ``decision``."""
        return {**super().as_dict(), "decision": self.decision.as_dict()}

    def __str__(self) -> str:
        return str(self.decision)
