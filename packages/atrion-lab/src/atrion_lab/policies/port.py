"""The port between the simulator and an admission policy: it sees a call arrive, start and finish."""

from __future__ import annotations

from typing import Any, Protocol, final

from atrion.sensing.telemetry import Outcome

__all__ = ["BasePolicy", "Call", "Policy"]


@final
class Call:
    """One attempt of one request, as a server sees it. Times in seconds of the simulation.

    Attributes:
        route: Route id.
        tier: Importance, 0 (bulk) to 4 (critical).
        key: The caller's key, or None.
        arrived: When it arrived.
        started: When a worker took it; below zero until then.
        deadline: When its client stops waiting, absolute.
        service: Seconds of work it will take on an idle server; a policy must not look at it.
        cost: What its client says that it costs, such as its tokens; 0 where it says nothing.
        attempt: 0 for a first attempt, then 1, 2, … for retries.
        token: The policy's own, to carry something from :meth:`Policy.arrive` to :meth:`Policy.finish`.
        retry_after: Seconds after which a policy that refuses it invites the client again; 0 says nothing.
        luck: In [0, 1), whether a failing dependency fails this one; a policy must not look at it.
        gate, request: The simulator's own.
    """

    __slots__ = (
        "arrived",
        "attempt",
        "cost",
        "deadline",
        "gate",
        "key",
        "luck",
        "request",
        "retry_after",
        "route",
        "service",
        "started",
        "tier",
        "token",
    )

    def __init__(
        self,
        route: str,
        tier: int,
        key: str | None,
        arrived: float,
        deadline: float,
        service: float,
        attempt: int = 0,
        luck: float = 0.0,
        request: Any = None,
        cost: float = 0.0,
    ) -> None:
        self.route: str = route
        self.tier: int = tier
        self.key: str | None = key
        self.arrived: float = arrived
        self.started: float = -1.0
        self.deadline: float = deadline
        self.service: float = service
        self.cost: float = cost
        self.attempt: int = attempt
        self.token: Any = None
        self.retry_after: float = 0.0
        self.luck: float = luck
        self.gate: Any = None
        self.request: Any = request


class Policy(Protocol):
    """What decides over admission. The simulator calls it in the order of time; it starts no timers.

    A call is owed one :meth:`finish` if :meth:`arrive` said True: with SUCCESS or FAILURE when its work ended,
    IGNORED when the client was at fault, DROPPED when it never ran (dropped at :meth:`start`, or its client
    left while it was queued and the server noticed).
    """

    @property
    def name(self) -> str:
        """Its name in tables."""
        ...

    def arrive(self, call: Call, now: float) -> bool:
        """Whether the call is admitted."""
        ...

    def start(self, call: Call, now: float) -> bool:
        """A worker takes the call from the queue; False drops it there instead of working on it."""
        ...

    def finish(self, call: Call, outcome: Outcome, now: float) -> None:
        """An admitted call has ended; its latency is ``now - call.arrived``."""
        ...


class BasePolicy:
    """Neutral defaults: everything is admitted and nothing learnt."""

    name: str = "none"

    def arrive(self, call: Call, now: float) -> bool:
        """Admit."""
        return True

    def start(self, call: Call, now: float) -> bool:
        """Work on it."""
        return True

    def finish(self, call: Call, outcome: Outcome, now: float) -> None:
        """Learn nothing."""
