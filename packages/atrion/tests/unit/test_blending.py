"""How the scars of many nodes become one: weighed by evidence and age, and bounded."""

from __future__ import annotations

import math

import pytest

from atrion.state import ClusterScar, blend, cluster_scar
from atrion.state.blending import EVIDENCE_SECONDS
from packages.atrion.tests.unit.clusters import row


def test_blending_is_weighed_by_evidence_and_bounded() -> None:
    rows = [
        (row(10.0, 1.0), 0.0),
        (row(20.0, 3.0), 0.0),
        (row(99.0, 0.0), 0.0),
        (row(99.0, 9.0), 61.0),
        (row(99.0, 9.0), -1.0),
        (row(99.0, math.nan), 0.0),
    ]
    assert cluster_scar(rows) == ClusterScar(17.5, 4.0)
    assert cluster_scar([]) == ClusterScar(0.0, 0.0)
    assert cluster_scar([(row(1e9, 1e9), 0.0), (row(0.0, 100.0), 0.0)]) == ClusterScar(75.0, 200.0)
    assert blend(2.0, 5.0, 0.3) == pytest.approx(2.9)


def test_old_words_weigh_less_and_their_scars_have_healed() -> None:
    old = cluster_scar([(row(50.0, 10.0, 0.5), 2.0)])
    assert old.scar == pytest.approx(50.0 * math.exp(-1.0))
    assert old.evidence == pytest.approx(10.0 * math.exp(-2.0 / EVIDENCE_SECONDS))


def test_ninety_nine_idle_follow_one_and_ninety_nine_busy_outvote_it() -> None:
    broken = row(100.0, 100.0)
    assert cluster_scar([(broken, 0.0)] + [(row(0.0, 0.0), 0.0)] * 98).scar == 100.0
    assert cluster_scar([(broken, 0.0)] + [(row(0.0, 100.0), 0.0)] * 99).scar == 1.0
