"""Profiles: long work is no pressure where it is expected, and slow answers are where they are not."""

from __future__ import annotations

from pathlib import Path

import pytest

from atrion import SLO, Atrion, ConfigurationError, Profile, Reason, Telemetry
from atrion.testing import VirtualClock
from packages.atrion.tests.unit.calling import Ticker, serve


def test_a_thirty_minute_job_leaves_no_scar(engine: Atrion, clock: VirtualClock) -> None:
    engine.configure("genome/sequence", profile="heavy")
    serve(engine, clock, "genome/sequence", 1800.0, 20)
    seen = engine.snapshot()["genome/sequence"]
    assert (seen.scar_tissue, seen.reason, seen.shed) == (0.0, None, 0)


def test_the_same_seconds_told_by_the_caller_are_no_pressure_either(
    engine: Atrion, clock: VirtualClock
) -> None:
    for name, profile in (("heavy", "heavy"), ("standard", "standard")):
        engine.configure(name, profile=profile)  # type: ignore[arg-type]
        for _ in range(20):
            clock.advance(1.0)
            engine.update_physics(name, Telemetry(latency=1800.0))
    seen = engine.snapshot()
    assert seen["heavy"].pressure_latency <= 0.0
    assert seen["standard"].pressure_latency > 0.5


def test_slow_health_checks_raise_resistance(engine: Atrion, clock: VirtualClock) -> None:
    engine.configure("health", profile="light")
    serve(engine, clock, "health", 2.0, 60)
    serve(engine, clock, "anything else", 2.0, 60)
    seen = engine.snapshot()
    assert seen["health"].reason is Reason.LATE
    assert seen["health"].resistance > 50.0
    assert seen["anything else"].reason is None


def test_what_the_slo_promises_counts_more_than_the_profile(engine: Atrion, clock: VirtualClock) -> None:
    engine.configure("health", profile="light", slo=SLO(latency=5.0))
    serve(engine, clock, "health", 2.0, 60)
    assert engine.snapshot()["health"].reason is None


def test_unanswered_calls_are_failures_only_after_the_profile_s_time(
    engine: Atrion, clock: VirtualClock, tick: Ticker
) -> None:
    for name in ("standard", "heavy"):
        engine.configure(name, profile=name, pool=name)  # type: ignore[arg-type]
        serve(engine, clock, name, 0.05, 10)
        for _ in range(5):
            assert engine.flow(name, "critical").try_begin()
    for _ in range(100):
        clock.advance(0.1)
        engine.snapshot()
    seen = engine.snapshot()
    assert seen["standard"].reason is Reason.STALLED
    assert seen["heavy"].reason is None


def test_changing_the_profile_forgets_nothing(engine: Atrion, clock: VirtualClock) -> None:
    serve(engine, clock, "job", 0.05, 10)
    before = engine.snapshot()["job"].service_time
    engine.configure("job", profile="extreme")
    assert engine.snapshot()["job"].service_time == before > 0.0


def test_a_profile_of_one_s_own(engine: Atrion, clock: VirtualClock) -> None:
    engine.configure("nightly/*", profile=Profile(name="nightly", duration=600.0))
    for _ in range(10):
        clock.advance(1.0)
        engine.update_physics("nightly/report", Telemetry(latency=500.0))
    assert engine.snapshot()["nightly/report"].pressure_latency <= 0.0


def test_profiles_in_toml(tmp_path: Path) -> None:
    file = tmp_path / "atrion.toml"
    file.write_text('[routes.health]\nprofile = "light"\n')
    Atrion.from_config(file)
    file.write_text('[routes.health]\nprofile = "lite"\n')
    with pytest.raises(ConfigurationError, match=r"routes.health\] profile must be one of light, standard"):
        Atrion.from_config(file)


@pytest.mark.parametrize(
    "wrong",
    [
        {"duration": 0.0},
        {"stall": -1.0},
        {"heartbeat": float("nan")},
        {"latency": 0.0},
        {"grace": -1.0},
        {"name": ""},
    ],
)
def test_unusable_values_are_refused_by_name(wrong: dict[str, float | str]) -> None:
    (field,) = wrong
    with pytest.raises(ConfigurationError, match=f"Profile.{field}"):
        Profile(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", ["fast", 3, None.__class__])
def test_unknown_profiles_are_refused(engine: Atrion, wrong: object) -> None:
    with pytest.raises(ConfigurationError, match="profile must be one of light, standard, heavy, extreme"):
        engine.configure("job", profile=wrong)  # type: ignore[arg-type]
