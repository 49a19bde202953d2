from __future__ import annotations

import asyncio
import importlib.util
from pathlib import Path
from typing import Any

import httpx
import pytest

from benchmarks.stores.redis_server import RedisServer

SHOP = Path(__file__).parents[3] / "examples" / "shop.py"


def test_the_shop_of_the_manifests_serves_with_and_without_its_store(monkeypatch: pytest.MonkeyPatch) -> None:
    with RedisServer() as server:
        monkeypatch.setenv("ATRION_STORE", f"{server.url}?namespace=shop&gamma=0.3")
        spec = importlib.util.spec_from_file_location("shop", SHOP)
        assert spec is not None
        assert spec.loader is not None
        shop = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(shop)

        async def main() -> None:
            async with shop.lifespan(shop.app), client_of(shop.app) as client:
                assert (await client.post("/pay/5")).json() == {"paid": 5}
                assert (await client.get("/livez")).status_code == 200
                found = (await client.get("/readyz")).json()
                assert found == {"status": "ready", "store_healthy": True, "store_failures": 0}
                server.kill()
                assert (await client.post("/pay/6")).json() == {"paid": 6}
                assert (await client.get("/readyz")).status_code == 200

        asyncio.run(main())


def client_of(app: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://shop")
