"""Timing on noisy machines: short batches, every subject in turn, medians.

A batch is a function from a number of calls to the nanoseconds they took. All batches of a group are run round
after round in a shuffled order, so that a slow moment of the machine hits every library alike, and the median
over the rounds forgets it.
"""

import asyncio
import gc
import random
import statistics
import threading
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice, repeat
from time import monotonic, perf_counter_ns

Call = Callable[[], object]
AsyncCall = Callable[[], Awaitable[object]]
NamedCall = Callable[[str], object]

Batch = Callable[[int], float]
"""Runs so many calls and returns the nanoseconds of one; raises `Void` where the batch measured something else."""

BARE = "bare"
"""The library name of the bare call, which every other subject of its case is compared with."""

_LEAK = 0.05  # the share of calls that a refusing guard may let through as probes
_WARM_UP = 200


class Void(Exception):
    """A batch in which the guard did not do what the case measures."""


class Down(Exception):
    """What the dependency behind a refusing guard raises whenever a probe reaches it."""


@dataclass(frozen=True, slots=True)
class Refusing:
    """A guard that can be put into refusal: `arm` does it and returns the call, which then raises `refusal`."""

    arm: Callable[[], Call]
    refusal: type[BaseException]


@dataclass(frozen=True, slots=True)
class AsyncRefusing:
    """The same for coroutines."""

    arm: Callable[[], Awaitable[AsyncCall]]
    refusal: type[BaseException]


@dataclass(slots=True)
class Subject:
    """One library in one case, with what was measured of it so far (nanoseconds per call, a value per batch)."""

    case: str
    library: str
    batch: Batch
    calls: int = 0
    samples: list[float] = field(default_factory=list)
    trouble: str = ""

    @property
    def median(self) -> float:
        return statistics.median(self.samples)


@dataclass(frozen=True, slots=True)
class Plan:
    """How long to measure: rounds, milliseconds of one batch, seconds after which a group stops early."""

    rounds: int
    batch_ms: float
    group_seconds: float
    fewest_rounds: int = 5


QUICK = Plan(rounds=15, batch_ms=4.0, group_seconds=3.0)
FULL = Plan(rounds=31, batch_ms=20.0, group_seconds=30.0)


def sync_batch(call: Call) -> Batch:
    """Calls that succeed."""

    def batch(calls: int) -> float:
        start = perf_counter_ns()
        for _ in repeat(None, calls):
            call()
        return (perf_counter_ns() - start) / calls

    return batch


def named_batch(call: NamedCall, names: Iterator[str]) -> Batch:
    """Calls that succeed, each on the next route of an endless iterator of names."""

    def batch(calls: int) -> float:
        start = perf_counter_ns()
        for name in islice(names, calls):
            call(name)
        return (perf_counter_ns() - start) / calls

    return batch


def refused_batch(guard: Refusing) -> Batch:
    """Calls that are refused: raising and catching the refusal is part of the time."""
    refusal = guard.refusal

    def batch(calls: int) -> float:
        call = guard.arm()
        passed = 0
        start = perf_counter_ns()
        for _ in repeat(None, calls):
            try:
                call()
            except refusal:
                pass
            except Down:
                passed += 1
        elapsed = perf_counter_ns() - start
        return _per_call(elapsed, calls, passed)

    return batch


def bare_tried_batch(call: Call) -> Batch:
    """The bare call in the loop that `refused_batch` uses."""

    def batch(calls: int) -> float:
        start = perf_counter_ns()
        for _ in repeat(None, calls):
            try:
                call()
            except Void:
                pass
            except Down:
                pass
        return (perf_counter_ns() - start) / calls

    return batch


def async_batch(runner: asyncio.Runner, call: AsyncCall) -> Batch:
    """Awaited calls that succeed."""

    async def timed(calls: int) -> float:
        start = perf_counter_ns()
        for _ in repeat(None, calls):
            await call()
        return (perf_counter_ns() - start) / calls

    return lambda calls: runner.run(timed(calls))


def async_refused_batch(runner: asyncio.Runner, guard: AsyncRefusing) -> Batch:
    """Awaited calls that are refused."""
    refusal = guard.refusal

    async def timed(calls: int) -> float:
        call = await guard.arm()
        passed = 0
        start = perf_counter_ns()
        for _ in repeat(None, calls):
            try:
                await call()
            except refusal:
                pass
            except Down:
                passed += 1
        elapsed = perf_counter_ns() - start
        return _per_call(elapsed, calls, passed)

    return lambda calls: runner.run(timed(calls))


def bare_async_tried_batch(runner: asyncio.Runner, call: AsyncCall) -> Batch:
    """The bare coroutine in the loop that `async_refused_batch` uses."""

    async def timed(calls: int) -> float:
        start = perf_counter_ns()
        for _ in repeat(None, calls):
            try:
                await call()
            except Void:
                pass
            except Down:
                pass
        return (perf_counter_ns() - start) / calls

    return lambda calls: runner.run(timed(calls))


def until_refused(call: Call, refusal: type[BaseException], attempts: int = 1000) -> None:
    """Call a guard around a failing dependency until it refuses.

    Raises:
        Void: it did not within so many attempts.
    """
    for _ in range(attempts):
        try:
            call()
        except refusal:
            return
        except Down:
            continue
    raise Void(f"no refusal within {attempts} calls")


async def until_refused_async(call: AsyncCall, refusal: type[BaseException], attempts: int = 1000) -> None:
    """The same for a coroutine."""
    for _ in range(attempts):
        try:
            await call()
        except refusal:
            return
        except Down:
            continue
    raise Void(f"no refusal within {attempts} calls")


def run_group(subjects: list[Subject], plan: Plan, progress: Callable[[int, int], None]) -> None:
    """Measure the subjects of a group against each other; the samples are left in them."""
    for subject in subjects:
        if subject.trouble:
            continue
        _calibrate(subject, plan.batch_ms * 1e6)
    order = [subject for subject in subjects if subject.calls]
    shuffler = random.Random(len(order))  # a fixed order of orders: two runs differ by the machine alone
    gc.collect()
    gc.freeze()  # what stands now is no garbage; the collections between rounds then cost next to nothing
    try:
        ends_at = monotonic() + plan.group_seconds
        for done in range(plan.rounds):
            if done >= plan.fewest_rounds and monotonic() > ends_at:
                break
            shuffler.shuffle(order)
            for subject in order:
                _sample(subject)
            gc.collect()
            progress(done + 1, plan.rounds)
    finally:
        gc.unfreeze()


def _calibrate(subject: Subject, wanted_ns: float) -> None:
    """Warm the subject up and choose how many calls make a batch of the wanted length."""
    calls = _WARM_UP
    try:
        for _ in range(3):  # the first batches are cold: the last one decides
            per_call = max(subject.batch(calls), 1.0)
            calls = max(int(wanted_ns / 4 / per_call), 50)
    except Exception as error:
        subject.trouble = said(error)
        return
    subject.calls = max(int(wanted_ns / per_call), 50)


def _sample(subject: Subject) -> None:
    _let_timers_end()
    gc.disable()
    try:
        subject.samples.append(subject.batch(subject.calls))
    except Exception as error:
        subject.trouble = said(error)
    finally:
        gc.enable()


def _let_timers_end() -> None:
    """Some in-memory storages start timer threads; one must not run into the next library's batch."""
    for thread in threading.enumerate():
        if isinstance(thread, threading.Timer):
            thread.join(0.05)


def _per_call(elapsed: int, calls: int, passed: int) -> float:
    if passed > calls * _LEAK:
        raise Void(f"{passed} of {calls} calls were let through, the case measures refusals")
    return elapsed / calls


def said(error: Exception) -> str:
    """An error in one line."""
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
