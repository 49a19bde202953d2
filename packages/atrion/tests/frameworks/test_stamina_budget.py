"""With stamina, the budget of a destination counts the retries that are made, and no others."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest
import stamina
from stamina.instrumentation import RetryDetails, get_on_retry_hooks, set_on_retry_hooks

from atrion.integrations.stamina import budget, on, retry

CALLS = 9
_names = count()
QUICK: dict[str, Any] = {"wait_initial": 0.0, "wait_max": 0.0, "wait_jitter": 0.0}


def fail() -> None:
    raise ConnectionError


async def fail_later() -> None:
    raise ConnectionError


def by_on(destination: str) -> Callable[[], object]:
    return stamina.retry(on=on(destination), attempts=2, **QUICK)(fail)


def by_retry(destination: str) -> Callable[[], object]:
    return retry(destination, attempts=2, **QUICK)(fail)


def by_await(destination: str) -> Callable[[], object]:
    call = stamina.retry(on=on(destination), attempts=2, **QUICK)(fail_later)
    return lambda: asyncio.run(call())


def by_block(destination: str) -> Callable[[], object]:
    again = on(destination)

    def call() -> None:
        for attempt in stamina.retry_context(again, attempts=2, **QUICK):
            with attempt:
                fail()

    return call


def by_caller(destination: str) -> Callable[[], object]:
    caller = stamina.RetryingCaller(attempts=2, **QUICK).on(on(destination))
    return lambda: caller(fail)


def spend(destination: str, call: Callable[[], object]) -> tuple[int, float]:
    """Make calls that fail twice, with a budget of 30; returns what is left and the seconds that this took."""
    shared = budget(destination)
    for _ in range(300):
        shared.request()
    began = time.monotonic()
    for _ in range(CALLS):
        with pytest.raises(ConnectionError):
            call()
    left = 0
    while shared.withdraw():
        left += 1
    return left, time.monotonic() - began


@pytest.fixture
def destination() -> str:
    """One that no other test uses."""
    return f"stamina-{next(_names)}"


@pytest.fixture
def hooks() -> Iterator[None]:
    """Leaves stamina's hooks as they were."""
    before = get_on_retry_hooks()
    yield
    set_on_retry_hooks(before)


@pytest.mark.parametrize("decorated", [by_on, by_retry, by_await, by_block, by_caller])
def test_the_last_attempt_takes_nothing_of_the_budget(
    destination: str, decorated: Callable[[str], Callable[[], object]]
) -> None:
    left, seconds = spend(destination, decorated(destination))
    assert 30 - CALLS <= left <= 30 - CALLS + 3.0 * seconds + 1.0


def test_a_call_that_has_no_time_left_takes_nothing(destination: str) -> None:
    call = stamina.retry(on=on(destination), attempts=None, timeout=1e-9, **QUICK)(fail)
    assert spend(destination, call)[0] == 30


def test_retries_are_counted_although_others_replace_the_hooks_of_stamina(
    destination: str, hooks: None
) -> None:
    call = by_on(destination)
    set_on_retry_hooks([])
    left, seconds = spend(destination, call)
    assert left <= 30 - CALLS + 3.0 * seconds + 1.0


def test_the_hooks_of_others_stay(destination: str, hooks: None) -> None:
    heard: list[RetryDetails] = []
    set_on_retry_hooks([heard.append])
    for _ in range(2):
        with pytest.raises(ConnectionError):
            by_on(destination)()
    assert [details.retry_num for details in heard] == [1, 1]


def test_retries_that_are_not_of_a_destination_take_nothing_of_it(destination: str) -> None:
    on(destination)
    other = stamina.retry(on=ConnectionError, attempts=2, **QUICK)(fail)
    assert spend(destination, other)[0] == 30
