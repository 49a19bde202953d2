"""First-in first-out queues: service times from recorded latencies, and when a queue is empty."""

from __future__ import annotations

import math
from collections.abc import Sequence
from heapq import heapreplace

__all__ = ["drained", "enough", "impossible", "in_flight", "services"]

ROUNDED = 0.01
"""Share of the calls that may seem to have ended before they began: recorded clocks are rounded."""


def services(at: Sequence[float], latencies: Sequence[float], workers: int) -> list[float]:
    """Seconds of work in each call, if ``workers`` took the calls in the order of arrival.

    A call begins when it arrives, or as soon as a worker is free, and ends with its latency. What has ended by then
    gets 0 s or less: so many calls cannot have been in the hands of so few.
    """
    free = [-math.inf] * workers
    found = []
    for arrived, latency in zip(at, latencies, strict=True):
        begun = max(arrived, free[0])
        ended = arrived + latency
        heapreplace(free, max(begun, ended))
        found.append(ended - begun)
    return found


def impossible(found: Sequence[float]) -> int:
    """How many of :func:`services` would have ended before they began; 0 when rounding may explain them."""
    count = sum(each <= 0.0 for each in found)
    return count if count > ROUNDED * len(found) else 0


def enough(at: Sequence[float], latencies: Sequence[float], workers: int) -> int:
    """The least number of workers, above ``workers`` which are too few, with which the latencies are possible."""
    few, many = workers, in_flight(at, latencies)
    while many - few > 1:
        middle = (few + many) // 2
        if impossible(services(at, latencies, middle)):
            few = middle
        else:
            many = middle
    return many


def in_flight(at: Sequence[float], latencies: Sequence[float]) -> int:
    """Most calls in flight at once: with as many workers none waits."""
    steps = [(arrived, 1) for arrived in at]
    # A call that ends when another one arrives has made room for it; one of 0 s was there all the same.
    steps += [(arrived + max(latency, 1e-9), -1) for arrived, latency in zip(at, latencies, strict=True)]
    count = most = 0
    for _, step in sorted(steps):
        count += step
        most = max(most, count)
    return most


def drained(at: Sequence[float], work: Sequence[float], workers: int) -> float:
    """When the last call ends if all are admitted, in seconds."""
    free = [0.0] * workers
    for arrived, seconds in zip(at, work, strict=True):
        heapreplace(free, max(arrived, free[0]) + seconds)
    return max(free)
