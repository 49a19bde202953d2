"""The last service of a chain dies, and comes back: three processes, over HTTP and gRPC."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[4] / "examples/chain"


@pytest.mark.slow
def test_a_chain_whose_last_service_dies_harms_nothing_else_and_is_soon_as_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(str(FOLDER))
    import run  # type: ignore[import-not-found]  # an example, which is in no package

    report = asyncio.run(run.play(8.0, back=10.0))
    sys.modules.pop("run")
    told = report.printed()
    for phase in run.PHASES:
        assert report.share(phase, "without stock") >= 0.9, told
    for kind in run.PATHS:
        assert report.share("after", kind) >= 0.9, told
    assert report.share("dead", "critical") <= 0.05, told
    assert report.worked("dead") <= 0.5, told
