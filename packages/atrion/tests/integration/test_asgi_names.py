"""One route, one name, wherever the middleware stands; and a bounded number of names."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, FastAPI
from starlette.applications import Starlette
from starlette.convertors import Convertor, register_url_convertor
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Host, Match, Mount, Route, Router
from starlette.staticfiles import StaticFiles

from atrion import Atrion, PhysicsVector
from atrion.integrations._names import Shapes
from atrion.integrations.asgi import AtrionMiddleware
from atrion.testing import VirtualClock


@pytest.fixture
def engine() -> Atrion:
    return Atrion(clock=VirtualClock())


def ask(app: Any, *paths: str, method: str = "GET", root_path: str = "") -> list[int]:
    """Statuses of requests, with ``root_path`` as a server under a prefix gives it."""

    async def main() -> list[int]:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False, root_path=root_path)
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            return [(await client.request(method, path)).status_code for path in paths]

    return asyncio.run(main())


def names(engine: Atrion) -> set[str]:
    return {route for route, state in engine.snapshot().items() if state.admitted}


def page(request: Request) -> Response:
    return PlainTextResponse("ok")


def shop() -> FastAPI:
    app = FastAPI()

    @app.get("/items/{i}")
    async def item(i: str) -> str:
        return i

    return app


class InAnotherTask(BaseHTTPMiddleware):
    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        return await call_next(request)


# --- one name ------------------------------------------------------------------------------------------------


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


# --- what is no ordinary route -------------------------------------------------------------------------------


def test_a_redirect_of_a_slash_belongs_to_the_route_that_it_leads_to(engine: Atrion) -> None:
    app = FastAPI()
    users = APIRouter(prefix="/users")

    @users.get("/{name}/")
    async def user(name: str) -> str:
        return name

    app.include_router(users)
    app.mount("/v1", shop())
    app.add_middleware(AtrionMiddleware, atrion=engine)
    assert ask(app, "/v1/items/a/", "/users/eve", "/users/eve/") == [307, 307, 200]
    assert names(engine) == {"GET /v1/items/{i}", "GET /users/{name}/"}


def test_files_of_one_directory_are_one_route(engine: Atrion, tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("ok")
    (tmp_path / "style.css").write_text("ok")
    app = shop()
    app.mount("/static", StaticFiles(directory=tmp_path))
    app.add_middleware(AtrionMiddleware, atrion=engine)
    assert ask(app, "/static/index.html", "/static/style.css", "/static/none") == [200, 200, 404]
    assert names(engine) == {"GET /static/{path}"}


def test_a_frontend_is_a_route_and_no_path_that_matches_nothing(engine: Atrion, tmp_path: Path) -> None:
    for folder in ("site", "admin"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "index.html").write_text(folder)
    app, admin = shop(), APIRouter(prefix="/staff")
    app.frontend("/", directory=tmp_path / "site", fallback="index.html")
    admin.frontend("/admin", directory=tmp_path / "admin", fallback="index.html")
    app.include_router(admin)
    app.add_middleware(AtrionMiddleware, atrion=engine)
    assert ask(app, "/", "/index.html", "/items/1", "/staff/admin/index.html") == [200] * 4
    assert names(engine) == {"GET /{path}", "GET /items/{i}", "GET /staff/admin/{path}"}


def test_a_routers_own_default_is_no_path_that_matches_nothing(engine: Atrion) -> None:
    async def fallback(scope: Any, receive: Any, send: Any) -> None:
        await PlainTextResponse("fallback")(scope, receive, send)

    app = Starlette(routes=[Mount("/v1", Router([Route("/a", page)], default=fallback)), Route("/b", page)])
    assert ask(AtrionMiddleware(app, engine), "/v1/a", "/v1/else", "/else") == [200, 200, 404]
    assert names(engine) == {"GET /v1/a", "GET /v1{default}", "GET {unmatched}"}


def test_what_a_handler_of_404_answers_after_all_gets_a_name_of_its_own(engine: Atrion) -> None:
    app = shop()

    @app.exception_handler(404)
    async def single_page(request: Request, error: Exception) -> Response:
        found = not request.url.path.startswith("/wp-")
        return PlainTextResponse("page", 200 if found else 404)

    app.add_middleware(AtrionMiddleware, atrion=engine)
    assert ask(app, "/about", "/wp-login", "/about", "/wp-admin") == [200, 404, 200, 404]
    assert engine.snapshot()["GET /about"].admitted == 1
    assert engine.snapshot()["GET {unmatched}"].admitted == 3
    engine.restore("GET {unmatched}", PhysicsVector(0.0, 0.0, 150.0, 0.0))
    assert ask(app, "/wp-login", "/about") == [503, 200]


def test_what_matches_nothing_makes_one_route_for_each_method(engine: Atrion) -> None:
    app = AtrionMiddleware(shop(), engine)
    assert set(ask(app, *(f"/wp-{n}/x{n}.php" for n in range(60)))) == {404}
    assert names(engine) == {"GET {unmatched}"}
    ask(app, "/nowhere", method="POST")
    ask(app, "/items/1", method="DELETE")
    assert names(engine) == {"GET {unmatched}", "POST {unmatched}", "DELETE /items/{i}"}


# --- without a router ----------------------------------------------------------------------------------------


async def plain(scope: Any, receive: Any, send: Any) -> None:
    await PlainTextResponse("ok")(scope, receive, send)


def slugs(count: int) -> list[str]:
    return ["".join(chr(97 + n // 26**k % 26) for k in range(3)) + "son" for n in range(count)]


def test_slugs_do_not_make_a_route_each(engine: Atrion) -> None:
    app = AtrionMiddleware(plain, engine)
    ask(app, "/health", "/users/list", *(f"/users/{slug}/posts" for slug in slugs(60)))
    assert len(names(engine)) < 30
    assert {"GET /health", "GET /users/list", "GET /users/{…}/posts"} <= names(engine)


def test_shapes_are_bounded_at_every_depth() -> None:
    shapes = Shapes()
    seen = {shapes.shape(f"/{a}/{b}/{a}/{b}") for a in slugs(80) for b in slugs(80)}
    assert "/{…}/{…}/{…}/{…}" in seen
    assert len(seen) < 1000
    assert len({shapes.shape(f"/{slug}x/{slug}") for slug in slugs(200)}) == 1


def test_a_name_once_given_stays(engine: Atrion) -> None:
    app = AtrionMiddleware(plain, engine)
    ask(app, "/orders/list", *(f"/orders/{slug}" for slug in slugs(40)), "/orders/list")
    assert engine.snapshot()["GET /orders/list"].admitted == 2


# --- exclusion -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("root_path, prefix", [("", ""), ("/api", ""), ("/api", "/api")])
@pytest.mark.parametrize(
    "exclude, free",
    [
        (("/health",), ["/health", "/health/live"]),
        (("/health/",), ["/health", "/health/live"]),
        (("/",), ["/"]),
        (("/items",), ["/items/a"]),
        (("/item",), []),
        ((), []),
    ],
)
def test_exclusion_means_the_path_that_a_client_sends(
    exclude: tuple[str, ...], free: list[str], root_path: str, prefix: str, engine: Atrion
) -> None:
    everything = ["/", "/health", "/health/live", "/healthy", "/items/a"]
    app = Starlette(routes=[Route(path, page) for path in everything])
    guarded = AtrionMiddleware(app, engine, exclude=exclude)
    ask(guarded, *(prefix + path for path in everything), root_path=root_path)
    measured = sum(state.admitted for state in engine.snapshot().values())
    assert measured == len(everything) - len(free)
    engine.reset()
    for route in engine.snapshot():
        engine.restore(route, PhysicsVector(0.0, 0.0, 150.0, 0.0))
    assert ask(guarded, *(prefix + path for path in free), root_path=root_path) == [200] * len(free)


def test_exclusion_below_a_mount_means_the_whole_path(engine: Atrion) -> None:
    app, inner = FastAPI(), shop()
    inner.add_middleware(AtrionMiddleware, atrion=engine, exclude=("/v1/items/free",))
    app.mount("/v1", inner)
    assert ask(app, "/v1/items/free", "/v1/items/a") == [200, 200]
    assert engine.snapshot()["GET /v1/items/{i}"].admitted == 1


# --- which of many routes ------------------------------------------------------------------------------------


def answer(name: str) -> Any:
    """An endpoint that says its name."""

    async def endpoint(request: Request) -> Response:
        return PlainTextResponse(name)

    return endpoint


@pytest.mark.parametrize(
    "path", ["/a/b", "/a/c", "/x/b", "/x/c", "/files/a/b", "/files/", "/a", "/a/b/c", "/a%0A"]
)
@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("backwards", [False, True])
def test_the_name_is_of_the_route_that_answers(
    backwards: bool, method: str, path: str, engine: Atrion
) -> None:
    templates = ["/{x}/b", "/a/{y}", "/a/b", "/{x}/{y}", "/files/{rest:path}", "/a", "/{x}", "/{x:path}"]
    routes = [Route(template, answer(template.replace(":path", ""))) for template in templates]
    routes += [
        Route(template, answer(template.replace(":path", "")), methods=["POST"]) for template in templates
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
