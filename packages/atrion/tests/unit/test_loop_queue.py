"""The queue before an event loop, on virtual time: crowded or calm, and who is served."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from atrion.control.process import LoopQueue
from atrion.physics.voltage import BAND_WIDTH, Tier, band
from packages.atrion.tests.unit.crowding import BASE, sheds

WORK = 0.005
"""Seconds that a handler keeps its loop or thread busy."""
MIX = (0.05, 0.15, 0.5, 0.2, 0.1)
"""Shares of the tiers, from bulk to critical."""
REFUSAL = 5e-5
"""Seconds of the loop that a refusal takes."""
EMPTY = 2e-5
"""Seconds in which a loop comes round that has nothing to do."""


class Answer:
    """What became of a request that arrived at ``at``."""

    def __init__(self, at: float, tier: Tier) -> None:
        self.at = at
        self.tier = tier
        self.served = False
        self.latency = 0.0

    @property
    def good(self) -> bool:
        return self.served and self.latency < 0.8


class Loop:
    """An event loop under virtual time, whose handlers compute: everything that is ready runs, then it looks again.

    With ``accepts`` it takes up so many requests at a time, as uvloop accepts connections; the rest is its backlog.
    """

    def __init__(self, work: Callable[[], float] = lambda: WORK, accepts: int | None = None) -> None:
        self.queue = LoopQueue(0.0)
        self.now = 0.0
        self._work = work
        self._accepts = accepts
        self._rng = random.Random(3)
        self._asked = False

    def play(self, rate: float, seconds: float) -> list[Answer]:
        """The answers to random arrivals for so long."""
        rng, due = self._rng, self.now
        until = due + seconds
        answers: list[Answer] = []
        while (due := due + rng.expovariate(rate)) < until:
            answers.append(Answer(due, Tier(rng.choices(range(5), MIX)[0])))
        begun = 0
        while begun < len(answers):
            while self._asked and self.now < answers[begun].at:
                self._come_round(EMPTY)
            self.now = max(self.now, answers[begun].at)
            ready = begun
            while ready < len(answers) and answers[ready].at <= self.now:
                ready += 1
            end = ready if self._accepts is None else min(ready, begun + self._accepts)
            for answer in answers[begun:end]:
                self._serve(answer, ready - end)
            for answer in answers[begun:end]:  # a loop may write them all at the end
                answer.latency = self.now - answer.at
            self._come_round(EMPTY)
            begun = end
        return answers

    def _serve(self, answer: Answer, backlog: int) -> None:
        self.now += EMPTY
        self._asked |= self.queue.arrive(self.now, backlog)
        answer.served = band(answer.tier) + BAND_WIDTH * self._rng.random() > BASE + self.queue.process.ohms
        if answer.served:
            self.queue.admit()
        self.now += self._work() if answer.served else REFUSAL

    def _come_round(self, seconds: float) -> None:
        self.now += seconds
        if self._asked:
            self._asked = self.queue.turn(self.now)


def refused(answers: list[Answer]) -> float:
    return sum(not answer.served for answer in answers) / len(answers)


@pytest.mark.parametrize("load", [0.3, 0.5, 0.8])
@pytest.mark.parametrize("work", [0.0005, 0.005, 0.02])
def test_random_arrivals_at_a_loop_that_keeps_up_are_all_admitted(load: float, work: float) -> None:
    assert refused(Loop(lambda: work).play(load / work, 6000 * work)) == 0.0


def test_work_that_varies_is_admitted_as_well() -> None:
    rng = random.Random(5)
    assert refused(Loop(lambda: rng.expovariate(1.0 / WORK)).play(0.8 / WORK, 60.0)) < 0.002


@pytest.mark.parametrize("accepts", [None, 1])
@pytest.mark.parametrize("overload", [3.0, 6.0])
def test_an_overloaded_loop_serves_what_is_critical_in_time(overload: float, accepts: int | None) -> None:
    loop = Loop(accepts=accepts)
    assert refused(loop.play(0.3 / WORK, 5.0)) == 0.0
    over = loop.play(overload / WORK, 10.0)
    critical = [answer for answer in over if answer.tier is Tier.CRITICAL]
    assert sum(answer.good for answer in critical) > 0.95 * len(critical)
    assert sum(answer.good for answer in over) * WORK / 10.0 > 0.85
    after = loop.play(0.3 / WORK, 5.0)
    assert sum(answer.good for answer in after) > 0.93 * len(after)


def test_a_request_that_takes_long_itself_waits_for_nothing() -> None:
    queue, now = LoopQueue(0.0), 0.0
    for _ in range(100):
        queue.arrive(now)
        queue.admit()
        queue.turn(now + 1.0)
        queue.turn(now + 1.0 + EMPTY)
        now += 1.0 + 2 * EMPTY
        assert queue.process.ohms == 0.0


def test_a_few_clients_that_ask_again_at_once_may_keep_a_loop_busy() -> None:
    queue, now = LoopQueue(0.0), 0.0
    for _ in range(3000):
        for _ in range(4):
            queue.arrive(now)
            queue.admit()
            now += WORK
        queue.turn(now)
        assert queue.process.ohms == 0.0


def test_connections_that_are_opened_at_once_are_no_queue_of_requests() -> None:
    """Clients that connect before they ask, as pools of connections do, fill the backlog for a moment."""
    queue = LoopQueue(0.0)
    for now, backlog in [
        (0.0, 154),
        (0.001, 154),
        (0.003, 154),
        (0.119, 64),
        (0.120, 64),
        (0.2, 10),
        (0.21, 0),
    ]:
        queue.arrive(now, backlog)
        queue.admit()
        assert not sheds(queue.process, Tier.BULK)
        queue.turn(now + 0.0001)


def test_a_loop_that_waits_for_the_interpreters_lock_while_it_reads_has_a_queue() -> None:
    # Threads compute what was admitted, and the loop gets the lock only now and then: between two batches, too.
    queue, now = LoopQueue(0.0), 0.0
    for _ in range(40):
        for _ in range(20):
            queue.arrive(now)
        for _ in range(12):
            queue.admit()
        now += 0.1
        queue.turn(now)
        now += 0.1
        queue.turn(now)
    assert sheds(queue.process, Tier.NORMAL)


def test_what_piled_up_in_a_pause_of_the_process_is_served() -> None:
    loop = Loop(lambda: 0.001)
    loop.play(100.0, 5.0)
    waiting = loop.now
    loop.now += 3.0
    loop.queue.arrive(loop.now)
    for _ in range(200):  # requests of the pause, 0.2 s of work
        loop.now += 0.001
        loop.queue.arrive(loop.now)
        loop.queue.admit()
        assert loop.queue.process.ohms == 0.0
    assert loop.now - waiting > 3.0


def test_a_batch_whose_loop_has_ended_is_forgotten() -> None:
    queue = LoopQueue(0.0)
    assert queue.arrive(1.0)
    assert not queue.arrive(1.1)
    queue.rest(60.0)
    assert queue.arrive(60.0)
    assert queue.process.ohms == 0.0
