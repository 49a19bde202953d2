from __future__ import annotations

import pytest

from atrion import Atrion, ConfigurationError


def test_an_idle_route_answers_in_full(engine: Atrion) -> None:
    with engine.flow("world", "bulk", key="p1") as flow:
        assert flow.degrade() == 1.0


def test_quality_falls_in_steps_as_calls_crowd_in_and_never_to_nothing(engine: Atrion) -> None:
    levels = []
    open_flows = []
    for player in range(1000):
        flow = engine.flow("world", "critical", key=f"p{player % 3}")
        if not flow.decide().allowed:
            break
        open_flows.append(flow)
        levels.append(flow.degrade(steps=5))
    assert levels[0] == 1.0
    assert set(levels) <= {0.2, 0.4, 0.6, 0.8, 1.0}
    assert min(levels) <= 0.4
    for flow in open_flows:
        flow.finish()
    with engine.flow("world", "critical", key="p1") as flow:
        assert flow.degrade(steps=5) == 1.0


def test_what_matters_keeps_its_quality_longer(engine: Atrion) -> None:
    flows = [engine.flow("world", "critical") for _ in range(14)]
    for flow in flows:
        flow.decide()
    with engine.flow("world", "critical", key="a") as critical, engine.flow("world", "high", key="a") as high:
        assert high.degrade(steps=100) < critical.degrade(steps=100) < 1.0


@pytest.mark.parametrize("steps", [0, -1, 2000])
def test_steps_make_sense(engine: Atrion, steps: int) -> None:
    with engine.flow("world") as flow, pytest.raises(ConfigurationError, match="steps"):
        flow.degrade(steps)
