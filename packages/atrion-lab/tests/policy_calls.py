"""Calls served by hand, for the tests of admission policies."""

from __future__ import annotations

from atrion.sensing import Outcome
from atrion_lab.policies import Call, Policy

__all__ = ["DROPPED", "FAILURE", "IGNORED", "SUCCESS", "ask", "crowd", "queue", "serve"]

SUCCESS, FAILURE, IGNORED, DROPPED = Outcome.SUCCESS, Outcome.FAILURE, Outcome.IGNORED, Outcome.DROPPED


def ask(
    policy: Policy, now: float, tier: int = 2, key: str | None = None, patience: float = 0.5
) -> Call | None:
    """A call that arrives, or None when it is shed."""
    call = Call("api", tier, key, now, now + patience, 0.05)
    return call if policy.arrive(call, now) else None


def serve(policy: Policy, now: float, latency: float = 0.05, outcome: Outcome = SUCCESS) -> bool:
    """A call that arrives, finds an idle worker and ends after ``latency``; says whether it was admitted."""
    call = ask(policy, now)
    if call is None:
        return False
    call.started = now
    policy.finish(call, outcome, now + latency)
    return True


def crowd(policy: Policy, now: float, count: int, latency: float, outcome: Outcome = SUCCESS) -> int:
    """``count`` calls at once, all ending after ``latency``; returns how many were admitted."""
    calls = [call for call in (ask(policy, now) for _ in range(count)) if call is not None]
    for call in calls:
        call.started = now
        policy.finish(call, outcome, now + latency)
    return len(calls)


def queue(policy: Policy, now: float, wait: float) -> bool:
    """A worker takes a call that has waited; whether it is served."""
    call = ask(policy, now - wait)
    assert call is not None
    served = policy.start(call, now)
    if served:
        call.started = now
    policy.finish(call, SUCCESS if served else DROPPED, now)
    return served
