"""A service whose pods share what they learn: `uvicorn examples.shop:app`.

ATRION_STORE is where scars are shared, such as redis://redis:6379/0; ATRION_KEEP is where they are kept, such as
postgresql://app@postgres/app. Without them everything stays in the process.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.responses import JSONResponse

from atrion import Atrion, FlowRejected, Tier

atrion = Atrion(provider=os.environ.get("ATRION_STORE"), persistence=os.environ.get("ATRION_KEEP"))


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    async with atrion:
        yield


app = FastAPI(lifespan=lifespan)


@atrion.protect("payments", tier=Tier.CRITICAL)
async def pay(amount: int) -> dict[str, int]:
    await asyncio.sleep(0.01)  # the payment provider
    return {"paid": amount}


@app.post("/pay/{amount}")
async def checkout(amount: int) -> JSONResponse:
    try:
        return JSONResponse(await pay(amount))
    except FlowRejected as error:
        wait = max(1, round(error.decision.retry_after))
        return JSONResponse({"shed": str(error.decision)}, 503, headers={"Retry-After": str(wait)})


@app.get("/livez")
async def live() -> dict[str, str]:
    return {"status": "lives"}


@app.get("/readyz")
async def ready() -> dict[str, object]:
    """Ready whether or not the store is: a pod that lost its store decides by itself, and must keep its traffic."""
    return {"status": "ready", "store_healthy": atrion.state.healthy, "store_failures": atrion.state.failures}
