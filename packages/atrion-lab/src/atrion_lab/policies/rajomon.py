"""Rajomon: tokens on requests, prices of services, and prices that travel to the callers."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any, final

from atrion_lab.policies.common import LEVELS, level
from atrion_lab.policies.port import BasePolicy, Call

__all__ = ["Rajomon"]

TIERS = 5


@final
class Rajomon(BasePolicy):
    """Admits a request whose tokens are at least the price: the service's own, or a dearer one of those it calls.

    With every update its own price moves by ``step · (delay − threshold)`` and stays ≥ 0, the delay being the longest
    wait of the calls that were started since the last. The third rise in a row and those that follow are weakened by
    0.8 to the power of the rises before. Answers and rejections whose tokens divide by 5 tell the caller the price; the
    caller's is then at least that. Source: Xing et al., "Rajomon: Decentralized and Coordinated Overload Control for
    Latency-Sensitive Microservices", NSDI 2025, and https://github.com/pennsail/rajomon at f7c7553 (``expdecay`` and
    ``maximal``; decay 0.8, 1 in 5). Update, threshold and step are the user's to tune; the repository's tests have
    5 ms, 0.5 ms and 18 tokens per ms. Those here were chosen by us, for the best goodput from 1.2 to 10 times the
    capacity of a service of 50 ms.

    A request's tokens are its tier and its key's hourly place within it, 0 to 639, or a draw without a key. Clients
    that earn tokens by time and hold back what they cannot pay are beyond the port: here the service rejects it. Prices
    are not rounded to integers, and every route has its own, also where several share a server.

    Args:
        rng: Gives requests without a key their tokens.
        threshold: Seconds of waiting that are fine, > 0.
        step: Tokens per second of waiting, in each update, > 0.
        interval: Seconds between two updates, > 0.
        decay: Of the rises after the second in a row, in (0, 1].
        told: One in how many answers tells the price, ≥ 1.
    """

    name: str = "rajomon"

    def __init__(
        self,
        rng: Random,
        threshold: float = 0.02,
        step: float = 1000.0,
        interval: float = 0.05,
        decay: float = 0.8,
        told: int = 5,
    ) -> None:
        self._rng = rng
        self._threshold = threshold
        self._step = step
        self._interval = interval
        self._decay = decay
        self._told = told
        self._updated = 0.0
        self._longest = 0.0
        self._rises = 0
        self._called: tuple[Rajomon, ...] | None = None
        self.own: float = 0.0
        self.announced: float = 0.0
        """The price that its callers know, in tokens."""

    @property
    def price(self) -> float:
        """Tokens that a request needs."""
        return max(self.own, *(each.announced for each in self._called or ()), 0.0)

    def arrive(self, call: Call, now: float) -> bool:
        """Admit who can pay."""
        if self._called is None:
            self._called = tuple(_policies(() if call.gate is None else call.gate.wanted))
        self._update(now)
        tokens = TIERS * LEVELS - 1 - level(call, now, self._rng)
        price = self.price
        if tokens % self._told == 0:
            self.announced = price
        return tokens >= price

    def start(self, call: Call, now: float) -> bool:
        """Measure queueing."""
        self._update(now)
        self._longest = max(self._longest, now - call.arrived)
        return True

    def _update(self, now: float) -> None:
        due = int((now - self._updated) / self._interval + 1e-9)
        for _ in range(due):
            change = self._step * (self._longest - self._threshold)
            if change > 0.0:
                if self._rises >= 2:
                    change *= self._decay**self._rises
                self._rises += 1
            else:
                self._rises = 0
            self.own = max(self.own + change, 0.0)
            self._longest = 0.0
            if self.own == 0.0:
                break
        self._updated += due * self._interval


def _policies(wanted: Any) -> Iterator[Rajomon]:
    """The policies of all gates in a nest of them."""
    for each in wanted:
        if isinstance(each, tuple):
            yield from _policies(each)
        else:
            yield each.policy
