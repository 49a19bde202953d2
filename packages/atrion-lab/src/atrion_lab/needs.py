"""Calls to other servers that a call makes, in sequence or in parallel."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Union, final

from atrion.sensing.telemetry import Outcome
from atrion_lab.policies.port import Call

if TYPE_CHECKING:
    from atrion_lab.simulator import Gate, Timeline

__all__ = ["Nested", "Tell", "Wanted", "ask"]

Wanted = Union["Gate", tuple["Wanted", ...]]
"""A gate, or several: those of the outermost tuple one after the other, of one in it side by side, and so on."""
Tell = Callable[[Outcome], None]
SUCCESS = Outcome.SUCCESS
GRAVITY = (Outcome.SUCCESS, Outcome.IGNORED, Outcome.DROPPED, Outcome.FAILURE)
"""Which of several outcomes is that of all: the last of these."""


@final
class Nested:
    """Who asked for a downstream call: an upstream call that waits for it with its worker."""

    __slots__ = ("_tell", "outer", "steps")

    def __init__(self, tell: Tell, outer: Call) -> None:
        self._tell = tell
        self.outer: Call = outer
        self.steps: int = 0

    def rejected(self, call: Call) -> None:
        """Shed downstream: the dependency was not asked, and the upstream call cannot be answered."""
        self._tell(Outcome.IGNORED)

    def answered(self, call: Call, outcome: Outcome, now: float) -> None:
        """The upstream call learns how its downstream call ended."""
        self._tell(outcome)


def ask(wanted: Wanted, call: Call, timeline: Timeline, tell: Tell, *, together: bool = False) -> None:
    """Ask for the answers that ``call`` needs, and ``tell`` how that ended.

    One after the other, the first that brings no success ends it; ``together``, the gravest outcome counts once all
    have answered.
    """
    if not isinstance(wanted, tuple):
        service = call.service if wanted.draw is None else wanted.draw(call.luck)
        nested = Call(
            call.route,
            call.tier,
            call.key,
            timeline.now,
            call.deadline,
            service,
            luck=call.luck,
            request=Nested(tell, call),
        )
        wanted.submit(nested)
    elif together and wanted:
        gather = _gather(len(wanted), tell)
        for each in wanted:
            ask(each, call, timeline, gather)
    else:
        _follow(wanted, call, timeline, tell)


def _follow(wanted: tuple[Wanted, ...], call: Call, timeline: Timeline, tell: Tell) -> None:
    rest = iter(wanted)

    def step(outcome: Outcome) -> None:
        following = next(rest, None) if outcome is SUCCESS else None
        if following is None:
            tell(outcome)
        else:
            ask(following, call, timeline, step, together=True)

    step(SUCCESS)


def _gather(count: int, tell: Tell) -> Tell:
    outcomes: list[Outcome] = []

    def note(outcome: Outcome) -> None:
        outcomes.append(outcome)
        if len(outcomes) == count:
            tell(max(outcomes, key=GRAVITY.index))

    return note
