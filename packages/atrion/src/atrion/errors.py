"""The errors Atrion raises, all below :class:`AtrionError`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from atrion.control.decision import Decision

__all__ = ["AtrionError", "ConfigurationError", "FlowRejected", "MissingExtraError", "ProviderError"]


class AtrionError(Exception):
    """Base of every error that Atrion raises."""


class ConfigurationError(AtrionError, ValueError):
    """A value given to Atrion is unusable; the message names the field, the value and the cure."""

    def __init__(self, field: str, value: object, cure: str) -> None:
        super().__init__(f"{field} = {value!r} is not usable: {cure}")
        self.field = field
        self.value = value


class MissingExtraError(AtrionError, ImportError):
    """An optional integration is not installed; the message names the pip command."""

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(f'{feature} needs an optional extra: pip install "atrion[{extra}]"')


class ProviderError(AtrionError):
    """A state provider failed; raised to whoever calls a provider directly, never to a guarded call."""


class FlowRejected(AtrionError):
    """The one error that a guarded call raises on purpose: the request was shed.

    ``error.decision`` is the :class:`~atrion.Decision`, with its reason and ``retry_after`` in seconds.
    """

    # No __init__: a rejection must cost less than the work it saves, and the text is rarely read.

    @property
    def decision(self) -> Decision:
        """The decision that shed the request."""
        decision: Decision = self.args[0]
        return decision

    def __str__(self) -> str:
        return str(self.args[0])
