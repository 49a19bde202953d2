"""One route, one name, wherever the middleware stands; and a bounded number of names."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, FastAPI
from starlette.applications import Starlette
from starlette.convertors import Convertor, register_url_convertor
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Host, Match, Mount, Route, Router

from atrion import Atrion, PhysicsVector
from atrion.integrations.asgi import AtrionMiddleware
from packages.atrion.tests.integration.asgi_services import (
    InAnotherTask,
    ask,
    fastapi,
    names,
    page,
    serve,
    shop,
    starlette,
)


def outermost(engine: Atrion) -> Any:
    app = FastAPI()
    app.mount("/v1", shop())
    return AtrionMiddleware(app, engine)


def of_the_application(engine: Atrion) -> Any:
    app = FastAPI()
    app.mount("/v1", shop())
    app.add_middleware(AtrionMiddleware, atrion=engine)
    return app


def below_another_middleware(engine: Atrion) -> Any:
    app = of_the_application(engine)
    app.add_middleware(InAnotherTask)
    app.add_middleware(GZipMiddleware)
    return CORSMiddleware(app)


def around_other_wrappers(engine: Atrion) -> Any:
    app = FastAPI()
    app.mount("/v1", GZipMiddleware(CORSMiddleware(shop())))
    return AtrionMiddleware(GZipMiddleware(CORSMiddleware(app)), engine)


def of_the_mounted_application(engine: Atrion) -> Any:
    app, inner = FastAPI(), shop()
    inner.add_middleware(AtrionMiddleware, atrion=engine)
    app.mount("/v1", inner)
    return app


def around_the_mounted_application(engine: Atrion) -> Any:
    app = FastAPI()
    app.mount("/v1", AtrionMiddleware(GZipMiddleware(shop()), engine))
    return app


def of_the_mount(engine: Atrion) -> Any:
    guard = Middleware(AtrionMiddleware, atrion=engine)
    return Starlette(routes=[Mount("/v1", app=shop(), middleware=[guard])])


def of_the_route(engine: Atrion) -> Any:
    guard = Middleware(AtrionMiddleware, atrion=engine)
    return Starlette(routes=[Mount("/v1", routes=[Route("/items/{i}", page, middleware=[guard])])])


def of_the_router(engine: Atrion) -> Any:
    guard = Middleware(AtrionMiddleware, atrion=engine)
    return Router(routes=[Mount("/v1", routes=[Route("/items/{i}", page)])], middleware=[guard])


def of_an_included_router(engine: Atrion) -> Any:
    app, outer, inner = FastAPI(), APIRouter(prefix="/v1"), APIRouter()

    @inner.get("/items/{i}")
    async def item(i: str) -> str:
        return i

    outer.include_router(inner)
    app.include_router(outer)
    app.add_middleware(AtrionMiddleware, atrion=engine)
    return app


PLACES: list[Callable[[Atrion], Any]] = [
    outermost,
    of_the_application,
    below_another_middleware,
    around_other_wrappers,
    of_the_mounted_application,
    around_the_mounted_application,
    of_the_mount,
    of_the_route,
    of_the_router,
    of_an_included_router,
]


@pytest.mark.parametrize("prefix", ["", "/api"])
@pytest.mark.parametrize("place", PLACES)
def test_a_route_has_one_name_wherever_the_middleware_stands(
    place: Callable[[Atrion], Any], prefix: str, engine: Atrion
) -> None:
    paths = [f"{prefix}/v1/items/{name}" for name in ("a", "b", "7")]
    assert ask(place(engine), *paths, root_path=prefix) == [200] * 3
    assert names(engine) == {"GET /v1/items/{i}"}


@pytest.mark.filterwarnings("ignore:The `root_path` parameter is deprecated")
@pytest.mark.parametrize("outside", [True, False])
@pytest.mark.parametrize("prefix", ["", "/api"])
def test_a_prefix_that_the_application_was_told_is_no_part_of_the_name(
    outside: bool, prefix: str, engine: Atrion
) -> None:
    app = FastAPI(root_path="/api")

    @app.get("/items/{i}")
    async def item(i: str) -> str:
        return i

    guarded: Any = app
    if outside:
        guarded = AtrionMiddleware(GZipMiddleware(app), engine, exclude=("/items/free",))
    else:
        app.add_middleware(AtrionMiddleware, atrion=engine, exclude=("/items/free",))
    assert ask(guarded, f"{prefix}/items/a", f"{prefix}/items/free") == [200, 200]
    assert {route: state.admitted for route, state in engine.snapshot().items()} == {"GET /items/{i}": 1}


def test_mounts_within_mounts_and_templates_in_them(engine: Atrion) -> None:
    inner = Starlette(
        routes=[Route("/users/{name}", page)], middleware=[Middleware(AtrionMiddleware, atrion=engine)]
    )
    app = Starlette(routes=[Mount("/{tenant}", routes=[Mount("/v{version:int}", inner)])])
    assert ask(app, "/acme/v1/users/eve", "/duff/v2/users/adam") == [200, 200]
    assert names(engine) == {"GET /{tenant}/v{version}/users/{name}"}


def test_a_host_is_part_of_the_name(engine: Atrion) -> None:
    app = Starlette(routes=[Host("x", app=Router([Route("/items/{i}", page)]))])
    assert ask(AtrionMiddleware(app, engine), "/items/1") == [200]
    assert names(engine) == {"GET x/items/{i}"}


def test_one_outage_behind_a_mount_sheds_nobody_else(engine: Atrion) -> None:
    app = FastAPI()
    for mount in ("/v1", "/v2"):
        inner = shop()
        inner.add_middleware(AtrionMiddleware, atrion=engine)
        app.mount(mount, inner)
    engine.restore("GET /v1/items/{i}", PhysicsVector(0.0, 0.0, 150.0, 0.0))
    assert ask(app, "/v1/items/a", "/v2/items/a") == [503, 200]


def answer(name: str) -> Any:
    """An endpoint that says its name."""

    async def endpoint(request: Request) -> Response:
        return PlainTextResponse(name)

    return endpoint


FOUND = [
    "/a/b",
    "/a/c",
    "/x/b",
    "/x/c",
    "/files/a/b",
    "/files/",
    "/a",
    "/a/b/c",
    "/n/1",
    "/n/x",
    "/v1/b",
    "/v/b",
]
ODD = ["/a%0A", "/a/%0A", "/a/b%0A", "/x/%0A", "/x%0A/b", "/%0A", "/a/", "/x//", "/a//b", "/n/1%0A", "/n/"]


@pytest.mark.parametrize("path", [*FOUND, *ODD])
@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("backwards", [False, True])
def test_the_name_is_of_the_route_that_answers(
    backwards: bool, method: str, path: str, engine: Atrion
) -> None:
    templates = [
        "/v{x}/b",
        "/{x}/b",
        "/a/{y}",
        "/a/b",
        "/n/{y:int}",
        "/{x}/{y}",
        "/files/{rest:path}",
        "/a",
        "/{x}",
    ]
    templates.append("/{x:path}")
    routes = [Route(template, answer(re.sub(r":\w+", "", template))) for template in templates]
    routes += [
        Route(template, answer(re.sub(r":\w+", "", template)), methods=["POST"]) for template in templates
    ]
    app = AtrionMiddleware(Starlette(routes=routes[::-1] if backwards else routes), engine)

    async def main() -> str:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x") as client:
            return (await client.request(method, path)).text

    assert names(engine) == set()
    assert f"{method} {asyncio.run(main())}" in names(engine)
    assert len(names(engine)) == 1


class Segments(Convertor[str]):
    """Matches one segment or two."""

    regex = "[a-z]+(?:/[a-z]+)?"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


class Anywhere(Route):
    """A route with rules of its own."""

    def matches(self, scope: Any) -> tuple[Match, Any]:
        served = scope["path"].endswith(".any")
        return (Match.FULL, {"endpoint": self.endpoint}) if served else (Match.NONE, {})


def test_routes_that_match_by_rules_of_their_own(engine: Atrion) -> None:
    register_url_convertor("segments", Segments())
    upper = Route("/Shout", page)
    upper.path_regex = re.compile(upper.path_regex.pattern, re.IGNORECASE)
    app = Starlette(routes=[upper, Route("/of/{name:segments}", page), Anywhere("/any", page)])
    assert ask(AtrionMiddleware(app, engine), "/SHOUT", "/of/a", "/of/a/b", "/of/a/b/c", "/b/c.any") == [
        *[200] * 3,
        404,
        200,
    ]
    assert names(engine) == {"GET /Shout", "GET /of/{name}", "GET {unmatched}", "GET /any"}


def test_routes_that_are_added_later_are_found(engine: Atrion) -> None:
    app, late = FastAPI(), APIRouter(prefix="/late")
    late.add_api_route("/early", answer("early"))
    app.include_router(late)
    guarded = AtrionMiddleware(app, engine)
    assert ask(guarded, "/late/early", "/late/x", "/direct") == [200, 404, 404]
    late.add_api_route("/{x}", answer("late"))
    app.add_api_route("/direct", answer("direct"))
    assert ask(guarded, "/late/early", "/late/x", "/direct") == [200, 200, 200]
    assert names(engine) == {"GET /late/early", "GET /late/{x}", "GET /direct", "GET {unmatched}"}


def test_a_template_is_asked_of_the_router(engine: Atrion) -> None:
    with serve(starlette(engine)) as client:
        for path in ("/items/1", "/items/2", "/api/v2/users/eve", "/nowhere/1", "/elsewhere", "/api/v2/none"):
            client.get(path)
        client.post("/items/3")
        client.request("PROPFIND", "/items/3")
    routes = {route: state.admitted for route, state in engine.snapshot().items()}
    assert routes == {
        "GET /items/{item}": 2,
        "GET /api/{version}/users/{name}": 1,
        "GET {unmatched}": 3,
        "POST /items/{item}": 1,
        "OTHER /items/{item}": 1,
    }


def test_fastapi_templates_with_included_routers(engine: Atrion) -> None:
    with serve(fastapi(engine)) as client:
        assert client.get("/v1/shop/orders/a").json() == {"order": "a"}
        assert client.get("/v1/shop/orders/b").status_code == 200
        assert client.get("/v1/shop/none/b/c").status_code == 404
    assert set(engine.snapshot()) == {"GET /v1/shop/orders/{order}", "GET {unmatched}"}


def test_wrapped_around_and_mounted_below_a_router(engine: Atrion) -> None:
    inner = Starlette(routes=[Mount("/in/{a}", routes=[Route("/x/{b}", page)])])
    below = Mount(
        "/m", routes=[Route("/y/{c}", page)], middleware=[Middleware(AtrionMiddleware, atrion=engine)]
    )
    with serve(AtrionMiddleware(inner, engine)) as client:
        assert client.get("/in/1/x/2").status_code == 200
    with serve(Starlette(routes=[below])) as client:
        assert client.get("/m/y/2").status_code == 200
    assert engine.snapshot()["GET /in/{a}/x/{b}"].admitted == 1
    assert len(engine.snapshot()) == 2
    assert any(route.endswith("/y/{c}") for route in engine.snapshot())
