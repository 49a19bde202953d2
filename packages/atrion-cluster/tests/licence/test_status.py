from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta, timezone

import pytest

from atrion_cluster.licence import LicenseKey, LicenseState, LicenseStatus, status_of
from atrion_cluster.licence.watch import LicenseClock, Notices

LICENSE = LicenseKey("licence-1", "pro", 5, "Example GmbH", date(2026, 1, 1), date(2026, 12, 31), "v1")


def at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def test_the_last_day_ends_when_it_has_ended_everywhere() -> None:
    end = datetime(2027, 1, 1, tzinfo=timezone(timedelta(hours=-12))).timestamp()
    assert LICENSE.ends_at == end == at("2027-01-01T12:00:00+00:00")
    assert LICENSE.starts_at == at("2026-01-01T00:00:00+14:00")


@pytest.mark.parametrize(
    "now, state",
    [
        ("2025-12-31T09:59:59+00:00", "not-yet-valid"),
        ("2025-12-31T10:00:00+00:00", "active"),
        ("2026-12-02T11:59:59+00:00", "active"),
        ("2026-12-02T12:00:00+00:00", "expiring"),
        ("2027-01-01T11:59:59+00:00", "expiring"),
        ("2027-01-01T12:00:00+00:00", "grace"),
        ("2027-01-31T11:59:59+00:00", "grace"),
        ("2027-01-31T12:00:00+00:00", "lapsed"),
        ("2999-01-01T00:00:00+00:00", "lapsed"),
    ],
)
def test_a_licence_goes_through_its_states(now: str, state: str) -> None:
    status = status_of(LICENSE, at(now))
    assert status.state == state
    assert status.read_only == (state == "lapsed")
    assert status.sentence.startswith("The pro licence of Example GmbH ")
    assert status.sentence.endswith(".")


def test_sentences_say_when() -> None:
    said = {
        now: status_of(LICENSE, at(now + "T12:00:00+00:00")).sentence
        for now in ("2026-06-01", "2026-12-22", "2027-01-02", "2027-03-01")
    }
    assert said == {
        "2026-06-01": "The pro licence of Example GmbH is valid until 2026-12-31.",
        "2026-12-22": "The pro licence of Example GmbH expires on 2026-12-31, in 10 days; sharing goes on afterwards.",
        "2027-01-02": (
            "The pro licence of Example GmbH expired on 2026-12-31; sharing goes on. In 29 days Studio becomes"
            " read-only and new namespaces are no longer created."
        ),
        "2027-03-01": (
            "The pro licence of Example GmbH expired on 2026-12-31: sharing goes on, Studio is read-only, and new"
            " namespaces are not created."
        ),
    }


def test_no_key_is_an_evaluation_in_which_everything_works() -> None:
    status = status_of(None, 0.0, clusters=99)
    assert status.state is LicenseState.EVALUATION
    assert not status.read_only
    assert not status.over_limit


def test_a_revoked_licence_is_as_a_lapsed_one() -> None:
    status = status_of(LICENSE, at("2026-06-01T00:00:00+00:00"), revoked=frozenset({"licence-1"}))
    assert status.state is LicenseState.REVOKED
    assert status.read_only


def test_more_clusters_than_the_limit_are_said_and_nothing_more() -> None:
    now = at("2026-06-01T00:00:00+00:00")
    assert not status_of(LICENSE, now, clusters=5).over_limit
    status = status_of(LICENSE, now, clusters=6)
    assert status.over_limit
    assert status.state is LicenseState.ACTIVE
    assert not status.read_only
    assert status.sentence.endswith("6 clusters share this store, and the licence covers 5.")


def test_a_status_is_plain_data() -> None:
    found = json.loads(json.dumps(status_of(LICENSE, at("2026-06-01T00:00:00+00:00"), 2).as_dict()))
    assert found == {
        "state": "active",
        "sentence": "The pro licence of Example GmbH is valid until 2026-12-31.",
        "customer": "Example GmbH",
        "tier": "pro",
        "limit": 5,
        "expires": "2026-12-31",
        "clusters": 2,
        "over_limit": False,
        "read_only": False,
    }
    assert isinstance(status_of(LICENSE, 0.0), LicenseStatus)


def test_a_clock_that_is_set_back_changes_nothing() -> None:
    wall, monotonic = 1000.0, 50.0
    clock = LicenseClock(lambda: wall, lambda: monotonic)
    assert clock.now() == 1000.0
    wall, monotonic = 5000.0, 60.0
    assert clock.now() == 5000.0
    wall, monotonic = 10.0, 70.0
    assert clock.now() == 5010.0
    wall, monotonic = 6000.0, 80.0
    assert clock.now() == 6000.0


def test_a_notice_comes_once_a_day() -> None:
    notices, begin = Notices(), datetime(2026, 12, 5, tzinfo=UTC).timestamp()
    given = [hour for hour in range(100) if notices.due(("licence-1", "expiring"), begin + hour * 3600.0)]
    assert given == [0, 24, 48, 72, 96]
    assert notices.due(("licence-1", "grace"), begin)
    assert [notices.due(("", "evaluation"), begin + day * 86_400.0, float("inf")) for day in range(3)] == [
        True,
        False,
        False,
    ]
