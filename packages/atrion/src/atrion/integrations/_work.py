"""What guards of task queues share: a task is admitted by its name, and one that is shed is put back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypedDict

from atrion.control.call import Call
from atrion.control.decision import Decision
from atrion.engine import MAX_ROUTE_ID, Atrion
from atrion.errors import ConfigurationError
from atrion.physics.voltage import Tier, TierLike, level_of
from atrion.propagation import Header, Peers, RequestContext, use

__all__ = ["Tasks", "WorkOptions", "context_of", "delay_of", "headers_of", "running"]

LEAST_DELAY = 0.1
"""Seconds after which a shed task comes back at the earliest."""
_PEERS = Peers()


class WorkOptions(TypedDict, total=False):
    """What every guard of a task queue takes.

    ``tier``: the tier of tasks, or a function of a task's name that gives it; None takes that of the request that sent
    the task, else the route's own. ``exclude``: names of tasks that are neither shed nor measured.
    """

    tier: TierLike | Callable[[str], TierLike | None] | None
    exclude: Iterable[str]


def delay_of(decision: Decision) -> float:
    """Seconds after which a shed task is tried again."""
    return max(decision.retry_after, LEAST_DELAY)


class Tasks:
    """Decides about the tasks of one queue.

    Raises:
        ConfigurationError: an option is unusable.
    """

    def __init__(
        self,
        atrion: Atrion,
        *,
        tier: TierLike | Callable[[str], TierLike | None] | None = None,
        exclude: Iterable[str] = (),
    ) -> None:
        if not callable(getattr(atrion, "flow", None)):
            raise ConfigurationError("atrion", atrion, "give an Atrion")
        if tier is not None and not callable(tier):
            level_of(tier)
        if isinstance(exclude, str):
            raise ConfigurationError("exclude", exclude, 'give a list of names, such as ["shop.ping"]')
        self.atrion: Atrion = atrion
        self._tier = tier
        self._exclude = frozenset(exclude)

    def begin(self, name: str, context: RequestContext) -> Call | Decision | None:
        """The task in flight, or the decision that sheds it; None where it is excluded."""
        if name in self._exclude or self.atrion.disabled:
            return None
        tier = self._tier(name) if callable(self._tier) else self._tier
        parsed = context.tier if tier is None else Tier.parse(tier)
        if parsed is not None and context.tier is not None:
            parsed = min(parsed, context.tier)
        call = self.atrion.flow(name[:MAX_ROUTE_ID], parsed, place=context.place)
        decision = call.decide()
        return call if decision.allowed else decision


@contextmanager
def running(
    call: Call | None, context: RequestContext, ignore: tuple[type[BaseException], ...] = ()
) -> Iterator[None]:
    """Around a task: it runs in its context, and what it raises, but for the classes in ``ignore``, is a failure."""
    with use(context):
        if call is None:
            yield
            return
        try:
            call.enclose()
            yield
        except BaseException as error:
            call.finish_with(error, ignore)
            raise
        call.finish()


def context_of(header: Header) -> RequestContext:
    """The context in a task's headers: all who can write to the queue are trusted."""
    return _PEERS.read(header)


def headers_of() -> dict[str, str]:
    """Headers with the context of the request being served, for a task that it sends.

    Deadlines do not travel: nobody knows how long a task waits in its queue.
    """
    baggage = _PEERS.carried().get("baggage")
    return {} if baggage is None else {"baggage": baggage}
