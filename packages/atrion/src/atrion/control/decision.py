"""The answer to "may this request flow?"."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final, final

from atrion._native import mypyc_attr
from atrion.errors import FlowRejected
from atrion.physics.modes import Mode, mode_of

__all__ = ["Decision", "Reason", "bypassed"]


class Reason(StrEnum):
    """Why a request flowed, or what adds most to the resistance that shed it; the mode tells of an open breaker.

    A standing queue (``SATURATED``, ``PROCESS_SATURATED``), worthless answers (``FAILING``, ``LATE``) or none
    (``STALLED``), seen here or by other nodes (``CLUSTER``). A scar keeps the name of what made it; ``RESISTANCE`` is
    one that was restored, or too low a voltage.
    """

    FLOWS = "flows"
    PROBE = "probe"
    SATURATED = "saturated"
    PROCESS_SATURATED = "process_saturated"
    FAILING = "failing"
    LATE = "late"
    STALLED = "stalled"
    CLUSTER = "cluster"
    RESISTANCE = "resistance"


FLOWS: Final = Reason.FLOWS
PROBE: Final = Reason.PROBE


@mypyc_attr(acyclic=True)
@final
class Decision:
    """One admission decision. It cannot be changed, and crosses processes."""

    __slots__ = ("_allowed", "_mode", "_reason", "_resistance", "_retry_after", "_route", "_voltage")

    def __init__(
        self,
        allowed: bool,
        route: str,
        resistance: float,
        voltage: float,
        mode_index: int,
        reason: Reason,
        retry_after: float,
    ) -> None:
        self._allowed: bool = allowed
        self._route: str = route
        self._resistance: float = resistance
        self._voltage: float = voltage
        self._mode: int = mode_index
        self._reason: Reason = reason
        self._retry_after: float = retry_after

    @property
    def allowed(self) -> bool:
        """Whether the request may flow."""
        return self._allowed

    @property
    def would_shed(self) -> bool:
        """Whether it may flow only because of shadow mode; the reason is then what would have shed it."""
        return self._allowed and self._reason is not FLOWS and self._reason is not PROBE

    @property
    def route(self) -> str:
        """The id of the route that was asked."""
        return self._route

    @property
    def resistance(self) -> float:
        """What the route set against the request, in ohms."""
        return self._resistance

    @property
    def voltage(self) -> float:
        """What the request had by its tier and key, in volts."""
        return self._voltage

    @property
    def mode(self) -> Mode:
        """The mode the route was in."""
        return mode_of(self._mode)

    @property
    def reason(self) -> Reason:
        """Why it flowed or was shed."""
        return self._reason

    @property
    def retry_after(self) -> float:
        """Seconds until a like request is expected to flow, from the decay law; 0 unless it was, or would be, shed."""
        return self._retry_after

    def as_dict(self) -> dict[str, Any]:
        """The fields as data that ``json.dumps`` takes; mode and reason by name, in lower case."""
        return {
            "allowed": self._allowed,
            "would_shed": self.would_shed,
            "route": self._route,
            "resistance": self._resistance,
            "voltage": self._voltage,
            "mode": self.mode.name.lower(),
            "reason": self._reason.value,
            "retry_after": self._retry_after,
        }

    def __json__(
        self,
    ) -> dict[str, Any]:  # asked for by Celery, which otherwise sends the text of an error alone
        return self.as_dict()

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> Decision:
        """The decision that :meth:`as_dict` made ``data`` of.

        Raises:
            KeyError: a field is missing, or a mode unknown.
            ValueError: a field has a value that it cannot have.
        """
        return Decision(
            bool(data["allowed"]),
            str(data["route"]),
            float(data["resistance"]),
            float(data["voltage"]),
            int(Mode[str(data["mode"]).upper()]),
            Reason(data["reason"]),
            float(data["retry_after"]),
        )

    def _values(self) -> tuple[bool, str, float, float, int, Reason, float]:
        return (
            self._allowed,
            self._route,
            self._resistance,
            self._voltage,
            self._mode,
            self._reason,
            self._retry_after,
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return Decision, self._values()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Decision) and self._values() == other._values()

    def __hash__(self) -> int:
        return hash(self._values())

    def __bool__(self) -> bool:
        return self._allowed

    def __str__(self) -> str:
        would_shed = self.would_shed
        verb = "would be shed" if would_shed else "flows" if self._allowed else "shed"
        text = (
            f"{self._route}: {verb} ({self._reason}), {self._resistance:.1f} Ω against {self._voltage:.1f} V"
        )
        return text if self._allowed and not would_shed else f"{text}, retry after {self._retry_after:.1f} s"

    def __repr__(self) -> str:
        return f"<Decision {self}>"


def bypassed(route_id: str) -> Decision:
    """The decision of an engine that is disabled and computes neither resistance nor voltage."""
    return Decision(True, route_id, 0.0, 0.0, int(Mode.OPERATIONAL), FLOWS, 0.0)


FlowRejected.decode = Decision.from_dict
