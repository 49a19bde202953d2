"""Names for what no route of the application names: files, defaults, unknown paths, and paths without a router."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route, Router
from starlette.staticfiles import StaticFiles

from atrion import Atrion, PhysicsVector
from atrion.integrations._names import Shapes
from atrion.integrations.asgi import AtrionMiddleware
from packages.atrion.tests.integration.asgi_services import ask, guarded, names, page, plain, serve, shop


@pytest.mark.parametrize(
    "path,route",
    [
        ("/", "GET /"),
        ("/a/12/b", "GET /a/{id}/b"),
        ("/a/6F9619FF-8B86-D011-B42D-00C04FC964FF", "GET /a/{id}"),
        ("/a/deadbeefcafe", "GET /a/{id}"),
        ("/v1/face/items", "GET /v1/face/items"),
        ("/a/" + "x" * 60, "GET /a/{id}"),
        ("/a/eve%40example.org", "GET /a/{id}"),
        ("/a/b/c/d/e/f/g/h", "GET /a/b/c/d/e/f"),
    ],
)
def test_without_a_router_the_shape_of_the_path_names_the_route(
    path: str, route: str, engine: Atrion
) -> None:
    with serve(guarded(engine)) as client:
        assert client.get(path).status_code == 200
    assert set(engine.snapshot()) == {route}


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
