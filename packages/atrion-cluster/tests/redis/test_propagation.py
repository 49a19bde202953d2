"""Three real processes on a real server: what one learns, the others know."""

from __future__ import annotations

import math
import time
from contextlib import ExitStack

import pytest

from benchmarks.cluster.pods import PodProcess
from benchmarks.stores.redis_server import RedisServer

DECAY = 0.8
"""λ of the default configuration, per second."""


@pytest.mark.slow
@pytest.mark.parametrize("channel", [True, False], ids=["by the channel", "by the pulse"])
def test_what_breaks_for_one_raises_the_resistance_of_the_others_within_two_pulses(
    redis_server: RedisServer, namespace: str, channel: bool
) -> None:
    url = f"{redis_server.url}?namespace={namespace}&gamma=0.3"
    with ExitStack() as stack:
        a, b, c = (stack.enter_context(PodProcess(url, node, channel=channel)) for node in "abc")
        for pod in (a, b, c):
            assert pod.ready["scar"] == 0.0
            pod.tell("know pay")
            pod.wait("known")
        a.tell("break pay")
        scarred = a.wait("scarred")
        for pod in (b, c):
            rose = pod.wait("rose")
            assert rose["own"] == 0.0  # it has not seen a single failure itself
            gain = rose["resistance"] - rose["before"]
            assert gain == pytest.approx(0.3 * rose["cluster"], abs=2.5)  # its own law moves on meanwhile
            assert gain > 0.3 * 0.5 * scarred["scar"]
            pulses = [at for at in rose["exchanges"] if scarred["at"] < at < rose["at"]]
            assert len(pulses) <= 2


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a", None], ids=["under its name", "under another"])
def test_the_first_decision_after_a_kill_carries_the_decayed_scar(
    redis_server: RedisServer, namespace: str, name: str | None
) -> None:
    url = f"{redis_server.url}?namespace={namespace}"
    with PodProcess(url, "a") as pod, PodProcess(url, "b") as other:
        cold = pod.ready["resistance"]
        assert other.ready["resistance"] == cold
        other.tell("know restarted")
        other.wait("known")
        pod.tell("break restarted")
        pod.wait("scarred")
        heard = other.wait("rose")
        pod.kill()
        began = time.monotonic()
        with PodProcess(url, name) as again:
            age = again.ready["at"] - began
            assert again.ready["scar"] > 0.5 * heard["cluster"] * math.exp(-DECAY * (age + 1.0))
            assert again.ready["resistance"] > cold + 1.0
