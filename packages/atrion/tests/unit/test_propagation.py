"""What travels with a request: it is accepted from peers alone, and no hop makes it matter more."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atrion import Atrion, ConfigurationError, Decision, Observer, Reason, Tier
from atrion.integrations._context import too_late
from atrion.physics import BAND_WIDTH, band
from atrion.propagation import Peers, RequestContext, current, use
from atrion.testing import VirtualClock

SECRET = "sixteen characters"


def accepted(peers: Peers, address: str | None = "10.1.2.3", **headers: str) -> RequestContext:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return peers.accepted(address, named.get)


INSIDE = Peers(networks=["10.0.0.0/8", "fd00::/8"], hosts=["payments", "*.svc.cluster.local"])


def test_outside_of_requests_nothing_is_known() -> None:
    assert current() == RequestContext()
    assert current().remaining() is None


def test_a_tier_may_be_lowered_and_never_raised() -> None:
    with use(tier="high"):
        with use(tier="low") as lowered:
            assert lowered.tier is Tier.LOW
        with use(tier=Tier.CRITICAL) as raised:
            assert raised.tier is Tier.HIGH
        assert current().tier is Tier.HIGH
    assert current().tier is None


def test_the_earliest_deadline_counts() -> None:
    with use(timeout=10.0), use(timeout=1.0), use(timeout=60.0) as narrowed:
        remaining = narrowed.remaining()
        assert remaining is not None
        assert 0.0 < remaining <= 1.0
    with use(timeout=0.0) as passed:
        assert passed.remaining() == 0.0


def test_a_place_is_kept_by_every_hop() -> None:
    with use(place=0.25), use(place=0.75) as kept:
        assert kept.place == 0.25


@pytest.mark.parametrize(
    "unusable",
    [{"tier": "urgent"}, {"timeout": -1.0}, {"timeout": float("nan")}, {"place": 2.0}, {"attempt": -1}],
    ids=str,
)
def test_what_is_unusable_is_refused(unusable: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError), use(**unusable):  # type: ignore[arg-type]  # it is wrong on purpose
        pass


# --- what comes in -------------------------------------------------------------------------------------------


def test_a_peer_brings_its_tier_place_attempt_and_the_least_of_its_deadlines() -> None:
    context = accepted(
        INSIDE,
        baggage="user=7, atrion.tier=critical;ttl=3 ,atrion.place=0.314159,atrion.attempt=2",
        x_request_deadline="900",
        x_envoy_expected_rq_timeout_ms="2000",
        grpc_timeout="500m",
    )
    assert (context.tier, context.place, context.attempt) == (Tier.CRITICAL, 0.314159, 2)
    remaining = context.remaining()
    assert remaining is not None
    assert 0.3 < remaining <= 0.5


@pytest.mark.parametrize(
    "text, seconds", [("1H", 3600.0), ("2M", 120.0), ("3S", 3.0), ("4000m", 4.0), ("5000000u", 5.0)]
)
def test_grpc_timeouts_are_read_in_every_unit(text: str, seconds: float) -> None:
    remaining = accepted(INSIDE, grpc_timeout=text).remaining()
    assert remaining == pytest.approx(seconds, abs=1.0)


@pytest.mark.parametrize("address", ["192.0.2.1", None, "unix:", "not an address", "2001:db8::1"])
def test_strangers_bring_nothing(address: str | None) -> None:
    brought = accepted(INSIDE, address, baggage="atrion.tier=critical", x_request_deadline="1")
    assert brought == RequestContext()


@pytest.mark.parametrize("address", ["10.255.0.1", "fd00::1", "::ffff:10.0.0.1", "fd00::1%eth0"])
def test_peers_are_known_by_their_networks(address: str) -> None:
    assert accepted(INSIDE, address, baggage="atrion.tier=critical").tier is Tier.CRITICAL


def test_at_the_edge_nobody_is_trusted() -> None:
    assert accepted(Peers(), baggage="atrion.tier=critical") == RequestContext()


def test_a_secret_signs_tier_and_place() -> None:
    ours, theirs = Peers(secret=SECRET, hosts=["*"]), Peers(secret="another sixteen characters")
    with use(tier="high", place=0.5):
        baggage = ours.headers("payments")["baggage"]
    assert baggage is not None
    assert accepted(ours, None, baggage=baggage).tier is Tier.HIGH
    assert accepted(theirs, None, baggage=baggage) == RequestContext()
    raised = baggage.replace("high", "critical")
    assert accepted(ours, None, baggage=raised) == RequestContext()
    assert accepted(ours, None) == RequestContext()


def test_a_function_may_say_who_is_trusted() -> None:
    gateway = Peers(accept=lambda address, header: header("x-gateway") == "yes")
    assert accepted(gateway, baggage="atrion.tier=low", x_gateway="yes").tier is Tier.LOW
    assert accepted(gateway, baggage="atrion.tier=low").tier is None


@pytest.mark.slow
@given(st.text(max_size=60), st.text(max_size=20), st.text(max_size=12))
def test_no_header_is_too_strange(baggage: str, milliseconds: str, grpc: str) -> None:
    context = accepted(
        INSIDE, baggage=f"atrion.place={baggage}", x_request_deadline=milliseconds, grpc_timeout=grpc
    )
    assert context.place is None or 0.0 <= context.place < 1.0
    remaining = context.remaining()
    assert remaining is None or remaining >= 0.0


def test_baggage_that_is_too_long_is_not_read() -> None:
    assert accepted(INSIDE, baggage="atrion.tier=low," + "x" * 9000) == RequestContext()


# --- what goes out -------------------------------------------------------------------------------------------


def test_peers_are_sent_the_context_and_what_remains_of_the_deadline() -> None:
    with use(tier="low", place=0.123456789, timeout=2.0, attempt=1):
        headers = INSIDE.headers("payments", "user=7,atrion.tier=critical")
    assert headers["baggage"] == "user=7,atrion.tier=low,atrion.place=0.123456,atrion.attempt=1"
    assert 1000 < int(headers["x-request-deadline"] or 0) <= 2000
    again = accepted(INSIDE, **{name.replace("-", "_"): value or "" for name, value in headers.items()})
    assert (again.tier, again.place, again.attempt) == (Tier.LOW, 0.123456, 1)


def test_foreign_hosts_are_told_nothing() -> None:
    with use(tier="critical", place=0.5, timeout=2.0):
        headers = INSIDE.headers("api.example.com", "atrion.tier=critical,user=7")
    assert headers == {"baggage": "user=7", "x-request-deadline": None, "x-atrion-tier": None}


def test_hosts_are_known_by_pattern_in_any_case() -> None:
    assert INSIDE.knows("Orders.svc.cluster.local")
    assert not INSIDE.knows("svc.cluster.local.example.com")


@pytest.mark.parametrize(
    "unusable",
    [
        {"networks": ["10.0.0.1/8"]},
        {"networks": "10.0.0.0/8"},
        {"hosts": "payments"},
        {"secret": "short"},
        {"accept": 1},
    ],
    ids=str,
)
def test_unusable_peers_are_refused(unusable: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError) as refused:
        Peers(**unusable)  # type: ignore[arg-type]  # it is wrong on purpose
    assert next(iter(unusable)) in str(refused.value)
    assert "short" not in str(refused.value)


# --- engines -------------------------------------------------------------------------------------------------


def test_a_place_counts_more_than_a_key() -> None:
    engine = Atrion(clock=VirtualClock())
    place = engine.place("shop", "user-7")
    assert 0.0 <= place < 1.0
    keyed = engine.decide("shop", Tier.HIGH, key="user-7").voltage
    placed = engine.flow("shop", Tier.HIGH, key="another", place=place).decide().voltage
    assert placed == pytest.approx(keyed)
    assert engine.place("shop") != engine.place("shop")


def test_what_takes_longer_than_what_remains_is_refused_but_for_one_a_second() -> None:
    clock = VirtualClock()
    engine = Atrion(clock=clock)
    for _ in range(20):
        with engine.flow("slow"):
            clock.advance(0.5)
    with use(timeout=0.1) as context:
        first = [too_late(engine, "slow", None, context) for _ in range(3)]
        clock.advance(1.0)
        later = [too_late(engine, "slow", None, context) for _ in range(3)]
    for found in (first, later):
        assert found[0] is None
        reasons = [decision.reason for decision in found if decision is not None]
        assert reasons == [Reason.DEADLINE, Reason.DEADLINE]
    with use(timeout=30.0) as context:
        assert too_late(engine, "slow", None, context) is None
    assert too_late(engine, "slow", None, RequestContext()) is None
    assert engine.snapshot()["slow"].shed == 4


def test_in_shadow_mode_nothing_is_too_late() -> None:
    engine = Atrion(clock=VirtualClock(), enforce=False)
    with use(timeout=0.0) as context:
        assert too_late(engine, "slow", None, context) is None


def test_inner_calls_have_the_tier_and_place_of_the_request_unless_told_otherwise() -> None:
    engine = Atrion(clock=VirtualClock())
    engine.configure("cache", tier="high")
    heard: list[float] = []

    class Hears(Observer):
        def on_decision(self, decision: Decision) -> None:
            heard.append(decision.voltage)

    engine.observe(Hears())

    @engine.protect("cache")
    def plain() -> None: ...

    @engine.protect("cache", tier="critical", key=lambda: "user-7")
    def told() -> None: ...

    def calls() -> list[float]:
        heard.clear()
        with (
            engine.flow("cache"),
            engine.flow("cache", place=0.5),
            engine.flow("cache", "critical", key="user-7"),
        ):
            plain()
            told()
        engine.decide("cache")
        return list(heard)

    outside = calls()
    with use(tier="low", place=0.25):
        inside = calls()
    low = band(Tier.LOW) + 0.25 * BAND_WIDTH
    assert inside[0] == inside[3] == inside[5] == low
    assert inside[1] == band(Tier.LOW) + 0.5 * BAND_WIDTH
    assert inside[2] == inside[4] == outside[2] == outside[4]
    assert all(
        band(Tier.HIGH) <= volts < band(Tier.CRITICAL) for volts in (outside[0], outside[1], outside[3])
    )
