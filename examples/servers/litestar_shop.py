"""A Litestar shop: python examples/servers/litestar_shop.py 8000, or uvicorn litestar_shop:app."""

import sys

import uvicorn
from litestar import Litestar, Request, get, post

from atrion import Atrion
from atrion.integrations.litestar import AtrionPlugin, tier


@get("/items/{item:int}")
async def item(request: Request) -> dict[str, int]:
    return {"item": request.path_params["item"]}


@post("/checkout")
@tier("critical")
async def checkout() -> dict[str, bool]:
    return {"paid": True}


@get("/health")
async def health() -> str:
    return "ok"


app = Litestar(
    [item, checkout, health],
    plugins=[AtrionPlugin(Atrion(), tiers={"/export/*": "bulk"}, exclude=["/health"])],
)

if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]))
