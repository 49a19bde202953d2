"""Every integration does what the documentation's table says of it."""

from __future__ import annotations

import gc
from concurrent.futures import ThreadPoolExecutor

import pytest

from atrion.state import SystemClock
from packages.atrion.tests.conformance.incoming import Incoming
from packages.atrion.tests.conformance.kills import killed
from packages.atrion.tests.conformance.subject import COLUMNS, Recorder, Subject
from packages.atrion.tests.conformance.table import SUBJECTS, kept

INCOMING = [subject for subject in SUBJECTS if isinstance(subject, Incoming)]


@pytest.mark.parametrize("column", COLUMNS)
@pytest.mark.parametrize("subject", SUBJECTS, ids=lambda subject: subject.title)
def test_an_integration_does_what_the_table_says(subject: Subject, column: str) -> None:
    assert getattr(subject, column)() == kept()[subject.title][column]


@pytest.mark.slow
@pytest.mark.parametrize("service", INCOMING, ids=lambda service: service.title)
# Django leaves the body of a killed request to the garbage collector, which may come to it during a later test.
@pytest.mark.filterwarnings("ignore:Unclosed file <tempfile.SpooledTemporaryFile:ResourceWarning")
@pytest.mark.filterwarnings("ignore:.*SpooledTemporaryFile:pytest.PytestUnraisableExceptionWarning")
def test_nothing_is_left_of_calls_that_are_killed_at_random_points(service: Incoming) -> None:
    found = killed(service, 100)
    gc.collect()
    assert found["guarded"] > 20


@pytest.mark.slow
@pytest.mark.parametrize("service", INCOMING, ids=lambda service: service.title)
def test_nothing_is_refused_in_calm(service: Incoming) -> None:
    with service.session(Recorder(SystemClock())) as it, ThreadPoolExecutor(2) as callers:
        answers = list(callers.map(it.client.ask, ["item"] * 150))
    assert {answer.status for answer in answers} == {service.ok}


def test_the_table_has_every_integration_and_no_other() -> None:
    assert list(kept()) == [subject.title for subject in SUBJECTS]
