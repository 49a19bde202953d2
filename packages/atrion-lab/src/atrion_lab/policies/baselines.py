"""The baselines that Atrion is compared with, by name; each is built from a random generator and known settings."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Final

from atrion_lab.policies.bbr import BbrShedder
from atrion_lab.policies.breaker import BinaryBreaker
from atrion_lab.policies.codel import Codel, FacebookCodel
from atrion_lab.policies.common import Facts
from atrion_lab.policies.dagor import Dagor
from atrion_lab.policies.failsafe import FailsafeLimiter, FailsafeThrottler
from atrion_lab.policies.libraries import AioAdaptive, Interlock, PyBreaker
from atrion_lab.policies.limits import Aimd, Gradient2, Vegas
from atrion_lab.policies.pid import PidRejector
from atrion_lab.policies.port import BasePolicy, Policy
from atrion_lab.policies.rajomon import Rajomon
from atrion_lab.policies.static import BoundedQueue, TokenBucket
from atrion_lab.policies.throttle import ClientThrottle

__all__ = ["ABOUT", "BASELINES", "LIBRARIES"]

Factory = Callable[[Random, Facts], Policy]

LIBRARIES: Final[dict[str, Factory]] = {
    "pybreaker": lambda rng, facts: PyBreaker(),
    "interlock-cb": lambda rng, facts: Interlock(),
    "aioadaptive": lambda rng, facts: AioAdaptive(),
}
"""Those that need ``atrion[peers]``."""

BASELINES: Final[dict[str, Factory]] = {
    "none": lambda rng, facts: BasePolicy(),
    "breaker": lambda rng, facts: BinaryBreaker(),
    "client-throttle": lambda rng, facts: ClientThrottle(rng),
    "aimd": lambda rng, facts: Aimd(),
    "vegas": lambda rng, facts: Vegas(rng),
    "vegas-windowed": lambda rng, facts: Vegas(rng, window=1.0),
    "gradient2": lambda rng, facts: Gradient2(),
    "bbr": lambda rng, facts: BbrShedder(facts.workers),
    "bbr-keen": lambda rng, facts: BbrShedder(facts.workers, tick=0.025),
    "codel": lambda rng, facts: Codel(),
    "codel-facebook": lambda rng, facts: FacebookCodel(),
    "pid": PidRejector,
    "dagor": lambda rng, facts: Dagor(rng),
    "rajomon": lambda rng, facts: Rajomon(rng),
    "failsafe-limiter": lambda rng, facts: FailsafeLimiter(rng),
    "failsafe-throttler": lambda rng, facts: FailsafeThrottler(rng),
    "token-bucket": lambda rng, facts: TokenBucket(facts.capacity, facts.workers),
    "bounded-queue": lambda rng, facts: BoundedQueue(
        facts.workers, int(facts.capacity * facts.deadline / 2.0)
    ),
    **LIBRARIES,
}
"""Factories by name: ``BASELINES["vegas"](Random(seed), Facts(deadline=0.5, workers=16))``."""

ABOUT: Final[dict[str, str]] = {
    "none": "admits everything",
    "breaker": "a binary circuit breaker, resilience4j's defaults",
    "client-throttle": "Google's adaptive throttling, K = 2 over two minutes",
    "aimd": "Netflix's AIMDLimit",
    "vegas": "Netflix's VegasLimit, learning from every call",
    "vegas-windowed": "the same, learning from windows of a second",
    "gradient2": "Netflix's Gradient2Limit in a WindowedLimit",
    "bbr": "the BBR shedder of kratos, utilisation for CPU",
    "bbr-keen": "the same, noticing a busy machine 20 times as fast",
    "codel": "CoDel of RFC 8289 on the server's queue",
    "codel-facebook": "Facebook's variant of CoDel",
    "pid": "the PID rejector of Uber's Cinnamon",
    "dagor": "WeChat's DAGOR, by priority and queueing time",
    "rajomon": "Rajomon's tokens and prices, by queueing time, told to callers",
    "failsafe-limiter": "failsafe-go's prioritised adaptive limiter, with usage",
    "failsafe-throttler": "failsafe-go's prioritised adaptive throttler",
    "token-bucket": "a rate set by hand: the capacity, in bursts of as many as there are workers",
    "bounded-queue": "a queue set by hand: as long as is worked off in half the deadline",
    "pybreaker": "the library, its own defaults",
    "interlock-cb": "the library, its own defaults",
    "aioadaptive": "the library's VegasLimiter, refusing instead of waiting",
}
"""A line for people about each baseline."""
