"""A FastAPI shop: python examples/servers/fastapi_shop.py 8000, or uvicorn fastapi_shop:app."""

import sys

import uvicorn
from fastapi import Depends, FastAPI

from atrion import Atrion
from atrion.integrations.fastapi import guard, install, tier

app, atrion = FastAPI(), Atrion()


@app.get("/items/{item}")
async def item(item: int) -> dict[str, int]:
    return {"item": item}


@app.post("/checkout", dependencies=[Depends(guard(atrion, "payments", tier="critical"))])
@tier("critical")
async def checkout() -> dict[str, bool]:
    return {"paid": True}


@app.get("/health")
async def health() -> str:
    return "ok"


install(app, atrion, tiers={"/export/*": "bulk"}, exclude=["/health"])

if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]))
