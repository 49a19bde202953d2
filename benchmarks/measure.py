"""Timing on noisy machines: many short batches, every subject in turn, medians.

A batch is a function from a number of calls to the nanoseconds of one. All batches of a group are run round
after round in a shuffled order, so that a slow moment of the machine hits every library alike. What counts is
the median of the calmer half of a library's batches: noise only ever adds.
"""

import asyncio
import gc
import math
import random
import statistics
import threading
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from time import monotonic, perf_counter_ns, sleep, thread_time_ns

Call = Callable[[], object]
AsyncCall = Callable[[], Awaitable[object]]
NamedCall = Callable[[str], object]

Batch = Callable[[int], float]
"""Runs so many calls and returns the nanoseconds of one; raises `Void` where it measured something else."""

BARE = "bare"
"""The library name of the bare call, which every other subject of its case is compared with."""

_LEAK = 0.05  # the share of calls that a refusing guard may let through as probes
_REST = 0.15  # seconds without a call after which a route counts as rested
_WARM_UP = 200
_FEWEST_SAMPLES = 3


class Void(Exception):
    """A batch in which the guard did not do what the case measures."""


class Down(Exception):
    """What the dependency behind a refusing guard raises whenever a probe reaches it."""


@dataclass(frozen=True, slots=True)
class Refusing:
    """A guard that can refuse: `arm` makes it do so and returns the call, which then raises `refusal`."""

    arm: Callable[[], Call]
    refusal: type[BaseException]


@dataclass(frozen=True, slots=True)
class AsyncRefusing:
    """The same for coroutines."""

    arm: Callable[[], Awaitable[AsyncCall]]
    refusal: type[BaseException]


@dataclass(slots=True)
class Subject:
    """One library in one case; samples are nanoseconds of one call, a value a valid batch."""

    case: str
    library: str
    batch: Batch
    fewest_calls: int = 50
    paired: bool = False
    """Samples are what the guard adds, not what the call takes."""
    calls: int = 0
    samples: list[float] = field(default_factory=list)
    trouble: str = ""

    @property
    def ns(self) -> float | None:
        """Nanoseconds of one call: the median of the faster half; None where hardly any batch is valid.

        Noise adds to a call, but to a difference as often as it takes away: there, the median of all.
        """
        counted = self.samples if self.paired else sorted(self.samples)[: (len(self.samples) + 1) // 2]
        return statistics.median(counted) if len(counted) >= _FEWEST_SAMPLES else None


@dataclass(frozen=True, slots=True)
class Plan:
    """How long to measure: rounds, milliseconds of one batch, seconds after which a group stops early."""

    rounds: int
    batch_ms: float
    group_seconds: float
    fewest_rounds: int = 5


QUICK = Plan(rounds=45, batch_ms=1.0, group_seconds=2.5)
FULL = Plan(rounds=151, batch_ms=4.0, group_seconds=30.0)


def sync_batch(call: Call) -> Batch:
    """Calls that succeed. The first is not timed: it may begin what a library does once in many calls."""

    def batch(calls: int) -> float:
        call()
        start = perf_counter_ns()
        for _ in repeat(None, calls):
            call()
        return (perf_counter_ns() - start) / calls

    return batch


def long_batch(call: Call) -> Batch:
    """Calls of milliseconds, in nanoseconds of this thread: the clock on the wall would count others' turns too."""

    def batch(calls: int) -> float:
        call()
        start = thread_time_ns()
        for _ in repeat(None, calls):
            call()
        return (thread_time_ns() - start) / calls

    return batch


def named_batch(call: NamedCall, names: Sequence[str]) -> Batch:
    """Calls that succeed, each on the next route of a list, in whole walks over it.

    An untimed walk comes first: the time since a route's last call is then that of steady traffic, and not
    that of the other libraries' turns.
    """

    def batch(calls: int) -> float:
        for name in names:
            call(name)
        return _walk(call, names, max(calls // len(names), 1))

    return batch


def rested_batch(call: NamedCall, names: Sequence[str]) -> Batch:
    """One walk over routes none of which has seen a call for a while; in the first batch they are new."""
    walked_at = -math.inf

    def batch(calls: int) -> float:  # one walk always: a second would find no rested route
        nonlocal walked_at
        sleep(max(walked_at + _REST - monotonic(), 0.0))
        per_call = _walk(call, names, 1)
        walked_at = monotonic()
        return per_call

    return batch


def _walk(call: NamedCall, names: Sequence[str], times: int) -> float:
    """Nanoseconds of a call, averaged over whole walks: what only some calls pay for belongs to it."""
    start = perf_counter_ns()
    for _ in repeat(None, times):
        for name in names:
            call(name)
    return (perf_counter_ns() - start) / (times * len(names))


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
    """Awaited calls that succeed; again without the first."""

    async def timed(calls: int) -> float:
        await call()
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
    try:
        calls = _WARM_UP
        for share in (0.25, 0.25, 1.0):  # the first batches are cold and may mislead about the length
            per_call = max(subject.batch(calls), 1.0)
            calls = max(int(share * wanted_ns / per_call), subject.fewest_calls)
            if subject.paired:  # what the guard adds does not tell how long a batch takes
                calls = subject.fewest_calls
            if calls == subject.fewest_calls:
                break
    except Exception as error:
        subject.trouble = said(error)
    else:
        subject.calls = calls


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
