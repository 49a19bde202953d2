from __future__ import annotations

import re
from importlib.metadata import metadata

import atrion_cluster


def test_the_distribution_is_commercial_and_needs_both_drivers() -> None:
    found = metadata("atrion-cluster")
    assert found["License-Expression"] == "LicenseRef-Atrion-Commercial"
    required = {re.split("[<>=,]", str(line))[0] for line in found.get_all("Requires-Dist") or []}
    assert {"atrion", "redis[hiredis]", "psycopg[binary]"} <= required
    assert atrion_cluster.__all__ == sorted(atrion_cluster.__all__)
