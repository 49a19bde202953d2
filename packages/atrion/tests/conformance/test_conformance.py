"""Every integration does what the documentation's table says of it."""

from __future__ import annotations

import pytest

from packages.atrion.tests.conformance.subject import COLUMNS, Subject
from packages.atrion.tests.conformance.table import SUBJECTS, kept


@pytest.mark.parametrize("column", COLUMNS)
@pytest.mark.parametrize("subject", SUBJECTS, ids=lambda subject: subject.title)
def test_an_integration_does_what_the_table_says(subject: Subject, column: str) -> None:
    assert getattr(subject, column)() == kept()[subject.title][column]


def test_the_table_has_every_integration_and_no_other() -> None:
    assert list(kept()) == [subject.title for subject in SUBJECTS]
