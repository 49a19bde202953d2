"""An aiohttp shop: python examples/servers/aiohttp_shop.py 8000."""

import sys

from aiohttp import web

from atrion import Atrion
from atrion.integrations.aiohttp import install, tier


async def item(request: web.Request) -> web.Response:
    return web.json_response({"item": int(request.match_info["item"])})


@tier("critical")
async def checkout(request: web.Request) -> web.Response:
    return web.json_response({"paid": True})


async def health(request: web.Request) -> web.Response:
    return web.Response(text="ok")


app = web.Application()
app.add_routes([web.get("/items/{item}", item), web.post("/checkout", checkout), web.get("/health", health)])
install(
    app,
    Atrion(),
    key=lambda request: request.headers.get("x-user"),
    tiers={"/export/*": "bulk"},
    exclude=["/health"],
)

if __name__ == "__main__":
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]))
