from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from atrion.providers.workers import WorkersProvider
from atrion.testing import Law, check_law, laws_for


@pytest.mark.parametrize("law", laws_for(WorkersProvider), ids=lambda law: law.name)
def test_workers_keep_every_law(law: Law, tmp_path: Path) -> None:
    asyncio.run(check_law(law, lambda store: WorkersProvider(tmp_path / store)))
