from __future__ import annotations

import asyncio
from typing import Any

import pytest

from atrion.testing import Law, check_law, laws_for
from atrion_cluster import PostgresPersistenceAdapter


def anywhere(store: str) -> PostgresPersistenceAdapter:
    return PostgresPersistenceAdapter("postgresql://127.0.0.1/x", namespace=store)


@pytest.mark.parametrize("law", laws_for(anywhere), ids=lambda law: law.name)
def test_postgres_keeps_every_law(law: Law, server: Any) -> None:
    url = server.url()
    asyncio.run(check_law(law, lambda store: PostgresPersistenceAdapter(url, namespace=store, history=60.0)))
