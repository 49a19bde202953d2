"""Admission decisions and their reasons."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final, final

from atrion._native import mypyc_attr
from atrion.errors import FlowRejected
from atrion.physics.modes import Mode, mode_of

__all__ = ["Decision", "Reason", "bypassed"]


class Reason(StrEnum):
    """Why a request was admitted, or the largest contribution to the resistance that shed it.

    ``FLOWS`` and ``PROBE`` are admitted. The others are shed: because of a queue (``SATURATED``,
    ``PROCESS_SATURATED``), failures (``FAILING``), late answers (``LATE``) or none at all (``STALLED``), or because
    other nodes report one of these (``CLUSTER``); or because the answer would come after the request's own deadline
    (``DEADLINE``). Scar tissue keeps the reason that left it; ``RESISTANCE`` is restored
    scar tissue, or a voltage below the resistance of an idle route. An open breaker shows in the decision's mode.
    """

    FLOWS = "flows"
    PROBE = "probe"
    SATURATED = "saturated"
    PROCESS_SATURATED = "process_saturated"
    FAILING = "failing"
    LATE = "late"
    STALLED = "stalled"
    CLUSTER = "cluster"
    DEADLINE = "deadline"
    RESISTANCE = "resistance"


FLOWS: Final = Reason.FLOWS
PROBE: Final = Reason.PROBE


@mypyc_attr(acyclic=True, free_list_len=1)
@final
class Decision:
    """One admission decision. It is immutable and can be pickled."""

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
        """Whether the request is admitted only because of shadow mode; ``reason`` is then why it would be shed."""
        return self._allowed and self._reason is not FLOWS and self._reason is not PROBE

    @property
    def route(self) -> str:
        """The id of the route."""
        return self._route

    @property
    def resistance(self) -> float:
        """The route's resistance, in ohms."""
        return self._resistance

    @property
    def voltage(self) -> float:
        """The request's voltage, from its tier and key."""
        return self._voltage

    @property
    def mode(self) -> Mode:
        """The mode the route was in."""
        return mode_of(self._mode)

    @property
    def reason(self) -> Reason:
        """Why the request was admitted or shed."""
        return self._reason

    @property
    def retry_after(self) -> float:
        """Seconds until such a request is expected to be admitted; 0 unless this one was, or would be, shed."""
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

    # Celery serialises with this method; without it, an error would cross as its text alone.
    def __json__(self) -> dict[str, Any]:
        return self.as_dict()

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> Decision:
        """The decision that :meth:`as_dict` turned into ``data``.

        Raises:
            KeyError: a field is missing, or a mode unknown.
            ValueError: a field has an impossible value.
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
    """The decision of a disabled engine, which computes neither resistance nor voltage."""
    return Decision(True, route_id, 0.0, 0.0, int(Mode.OPERATIONAL), FLOWS, 0.0)


FlowRejected.decode = Decision.from_dict
