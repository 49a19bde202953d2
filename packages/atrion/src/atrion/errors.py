"""The errors Atrion raises, all below :class:`AtrionError`.

Each one compares equal to its copy, also after it has crossed processes: what makes it is in ``args``.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from atrion.control.decision import Decision

__all__ = ["AtrionError", "ConfigurationError", "FlowRejected", "MissingExtraError", "ProviderError"]


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
    """Stands for a value that cannot cross processes, and looks like it."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


class ConfigurationError(AtrionError, ValueError):
    """A value given to Atrion is unusable; the message names the field, the value and the cure."""

    def __init__(self, field: str, value: object, cure: str) -> None:
        super().__init__(field, value, cure)

    @property
    def field(self) -> str:
        """The name of what was given."""
        return str(self.args[0])

    @property
    def value(self) -> Any:
        """What was given; its text where it could not cross processes."""
        return self.args[1]

    @property
    def cure(self) -> str:
        """What to give instead."""
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
        return f"{self.field} = {self.value!r} is not usable: {self.cure}"


class MissingExtraError(AtrionError, ImportError):
    """An optional integration is not installed; the message names the pip command."""

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(feature, extra)

    def __str__(self) -> str:
        feature, extra = self.args
        return f'{feature} needs an optional extra: pip install "atrion[{extra}]"'


class ProviderError(AtrionError):
    """A state provider failed; raised to whoever calls a provider directly, never to a guarded call."""


class FlowRejected(AtrionError):
    """The one error that a guarded call raises on purpose: the request was shed.

    ``error.decision`` is the :class:`~atrion.Decision`, with its reason and ``retry_after`` in seconds.
    """

    decode: ClassVar[Callable[[Mapping[str, Any]], Decision]]
    """Makes a decision of its plain data; given by the module that defines decisions, which lies above this one."""

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
