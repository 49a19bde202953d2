"""What guards of servers do beyond the conformance table: names, decorators, settings and their errors."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import httpx
import pytest
from aiohttp import web
from django.test.utils import override_settings
from fastapi import Depends, FastAPI
from flask import Flask
from litestar import get
from starlette.routing import Mount

from atrion import Atrion, ConfigurationError, FlowRejected, Outcome, Tier
from atrion.integrations import aiohttp, django, fastapi, flask, litestar, wsgi
from atrion.integrations.grpc import ServerInterceptor
from atrion.testing import force_shed
from packages.atrion.tests.conformance.django_services import Django
from packages.atrion.tests.conformance.http_services import (
    HTTP,
    served_by_threads,
    served_by_uvicorn,
)
from packages.atrion.tests.conformance.incoming import HttpClient, Incoming, unkept
from packages.atrion.tests.conformance.subject import Recorder, in_background


@contextmanager
def over_wsgi(app: Any) -> Iterator[httpx.Client]:
    with served_by_threads(app) as client, _http(client) as http:
        yield http


@contextmanager
def over_asgi(app: Any) -> Iterator[httpx.Client]:
    with served_by_uvicorn(app) as client, _http(client) as http:
        yield http


def _http(client: HttpClient) -> httpx.Client:
    return unkept(client.port)


# --- Flask and WSGI ------------------------------------------------------------------------------------------


def flask_shop(engine: Atrion, **options: Any) -> Flask:
    app = Flask("shop")

    @app.get("/items/<int:item>/")
    def item(item: int) -> str:
        return "ok"

    @app.get("/files/<path:name>")
    def file(name: str) -> str:
        return name

    @app.get("/pay")
    @flask.tier("critical")
    def pay() -> str:
        return "paid"

    @app.get("/inner")
    def inner() -> str:
        engine.decide("inner", Tier.LOW)
        with force_shed(Tier.CRITICAL, "inner", engine), engine.flow("inner"):
            return "never"

    flask.install(app, engine, **options)
    return app


def test_flask_names_what_has_a_rule_by_it_whatever_is_answered() -> None:
    engine = Recorder()
    with over_wsgi(flask_shop(engine)) as http:
        assert http.get("/items/7/").status_code == 200
        assert http.post("/items/7/").status_code == 405
        assert http.get("/items/7").status_code == 308
        assert http.get("/files/a/b/c").text == "a/b/c"
        assert http.get("/wp-login.php").status_code == 404
        assert http.request("BREW", "/items/7/").status_code == 405
    assert set(engine.routes) == {
        "GET /items/{item}/",
        "POST /items/{item}/",
        "GET /files/{name}",
        "GET {unmatched}",
        "OTHER /items/{item}/",
    }


@pytest.mark.parametrize("host", ["bad host", "[::1", "x" * 300, "a/b"])
def test_a_strange_host_is_no_way_round_the_guard(host: str) -> None:
    engine = Recorder()
    with over_wsgi(flask_shop(engine)) as http, force_shed(Tier.CRITICAL, engine=engine):
        shed = http.get("/items/7/", headers={"host": host})
    assert shed.status_code == 503


def test_a_view_has_its_tier_by_a_decorator() -> None:
    engine = Recorder()
    with over_wsgi(flask_shop(engine)) as http, force_shed(Tier.HIGH, engine=engine):
        assert http.get("/pay").text == "paid"
        assert http.get("/items/7/").status_code == 503


def test_the_answer_to_a_shed_request_can_be_ones_own_whoever_shed_it() -> None:
    def busy(environ: dict[str, Any], decision: Any) -> Any:
        def app(environ: dict[str, Any], start: Any) -> list[bytes]:
            start("429 Too Many Requests", [("content-type", "text/plain")])
            return [f"busy: {decision.route}".encode()]

        return app

    engine = Recorder()
    with over_wsgi(flask_shop(engine, response=busy)) as http:
        assert http.get("/inner").text == "busy: inner"
        with force_shed(Tier.CRITICAL, engine=engine):
            answer = http.get("/items/7/")
    assert (answer.status_code, answer.text) == (429, "busy: GET /items/{item}/")


def test_a_file_is_left_to_the_server_and_its_request_ends() -> None:
    engine = Recorder()

    def app(environ: dict[str, Any], start: Any) -> Any:
        start("200 OK", [("content-type", "text/x-python")])
        return environ["wsgi.file_wrapper"](Path(__file__).open("rb"))

    class Quiet(WSGIRequestHandler):
        def log_message(self, *said: Any) -> None:
            pass

    guarded = wsgi.AtrionMiddleware(app, engine)
    server = make_server("127.0.0.1", 0, guarded, handler_class=Quiet)
    with in_background(server.serve_forever, server.shutdown), unkept(server.server_port) as http:
        assert b"test_a_file" in http.get("/file").content
    server.server_close()
    assert engine.calls[-1].outcome is Outcome.SUCCESS


def test_a_stream_that_fails_on_its_way_is_a_failure() -> None:
    engine = Recorder()

    def app(environ: dict[str, Any], start: Any) -> Iterator[bytes]:
        start("200 OK", [("content-type", "text/plain")])
        yield b"half"
        raise RuntimeError("boom")

    with over_wsgi(wsgi.AtrionMiddleware(app, engine)) as http, pytest.raises(httpx.HTTPError):
        http.get("/")
    assert engine.calls[-1].outcome is Outcome.FAILURE


def test_browsers_may_always_ask_whether_they_may_ask() -> None:
    engine = Recorder()
    with over_wsgi(flask_shop(engine)) as http, force_shed(Tier.CRITICAL, engine=engine):
        preflight = http.options("/items/7/", headers={"access-control-request-method": "GET"})
    assert preflight.status_code == 200


def test_what_waited_long_at_a_proxy_counts_where_its_stamp_is_trusted() -> None:
    engine = Recorder()
    late = {"x-request-start": "t=0"}  # nonsense harms nobody
    with over_wsgi(flask_shop(engine, trust_request_start=True)) as http:
        assert http.get("/items/7/", headers=late).status_code == 200


# --- FastAPI -------------------------------------------------------------------------------------------------


def test_a_dependency_guards_what_an_endpoint_needs() -> None:
    engine = Recorder()
    app = FastAPI()
    app.add_exception_handler(FlowRejected, fastapi.refused)
    payments = Depends(fastapi.guard(engine, "payments", tier="low", key=lambda request: request.url.path))

    @app.get("/pay", dependencies=[payments], responses=fastapi.SHED)
    async def pay() -> str:
        return "paid"

    @app.get("/broken", dependencies=[payments])
    async def broken() -> str:
        raise RuntimeError("boom")

    with over_asgi(app) as http:
        assert http.get("/pay").json() == "paid"
        assert engine.calls[-1].outcome is Outcome.SUCCESS
        with force_shed(Tier.LOW, engine=engine):
            shed = http.get("/pay")
        assert http.get("/broken").status_code == 500
        assert engine.calls[-1].outcome is Outcome.FAILURE
        schema = http.get("/openapi.json").json()
    assert shed.status_code == 503
    assert shed.json()["route"] == "payments"
    assert int(shed.headers["retry-after"]) >= 1
    assert "503" in schema["paths"]["/pay"]["get"]["responses"]
    assert engine.in_flight() == 0


def test_install_gives_tiers_by_decorator_and_documents_the_refusal() -> None:
    engine = Recorder()
    app, mounted = FastAPI(), FastAPI()

    @app.get("/pay")
    @fastapi.tier("critical")
    async def pay() -> str:
        return "paid"

    @app.get("/items/{item}")
    async def item(item: str) -> str:
        return item

    @mounted.get("/refunds/{refund}")
    @fastapi.tier("critical")
    async def refund(refund: str) -> str:
        return refund

    app.router.routes.append(Mount("/v1", app=mounted))
    fastapi.install(app, engine)
    with over_asgi(app) as http:
        with force_shed(Tier.HIGH, engine=engine):
            assert http.get("/pay").status_code == 200
            assert http.get("/v1/refunds/7").status_code == 200
            assert http.get("/items/7").status_code == 503
        schema = http.get("/openapi.json").json()
    shed = schema["paths"]["/items/{item}"]["get"]["responses"]["503"]
    assert "application/problem+json" in shed["content"]
    assert "Retry-After" in shed["headers"]


# --- Litestar, aiohttp ---------------------------------------------------------------------------------------


def test_litestar_handlers_have_their_tier_by_a_decorator() -> None:
    from litestar import Litestar

    engine = Recorder()

    @get("/pay")
    @litestar.tier("critical")
    async def pay() -> str:
        return "paid"

    @get("/items/{item:int}")
    async def item() -> str:
        return "ok"

    app = Litestar([pay, item], plugins=[litestar.AtrionPlugin(engine)], logging_config=None)
    with over_asgi(app) as http, force_shed(Tier.HIGH, engine=engine):
        assert http.get("/pay").status_code == 200
        assert http.get("/items/7").status_code == 503
        assert http.get("/nothing").status_code == 404


# --- Django --------------------------------------------------------------------------------------------------


def test_django_refuses_settings_that_it_cannot_use() -> None:
    def middleware(settings: Any) -> None:
        with override_settings(ATRION=settings):
            django.AtrionMiddleware(lambda request: request)

    with pytest.raises(ConfigurationError, match="TIRES"):
        middleware({"TIRES": {}})
    with pytest.raises(ConfigurationError, match=r"settings\.ATRION\['KEY'\].*shop\.nobody"):
        middleware({"KEY": "shop.nobody"})
    with pytest.raises(ConfigurationError, match=r"settings\.ATRION.*dict"):
        middleware(["/health"])
    with pytest.raises(ConfigurationError, match="threads"):
        middleware({"THREADS": 0})
    with pytest.raises(ConfigurationError, match="RESPONSE"):
        middleware({"RESPONSE": 1})


def test_django_makes_an_engine_of_its_own_once_and_takes_one_by_its_path() -> None:
    with override_settings(ATRION={}):
        assert django.engine() is django.engine()
    with override_settings(ATRION={"ENGINE": f"{__name__}.SHARED"}):
        sys.modules.setdefault(__name__, sys.modules[test_a_view_has_its_tier_by_a_decorator.__module__])
        assert django.engine() is SHARED


SHARED = Atrion()


def test_django_views_have_their_tier_by_a_decorator_and_names_without_converters() -> None:
    from django.http import HttpResponse
    from django.urls import include, path, re_path

    @django.tier("critical")
    def pay(request: Any, **given: Any) -> HttpResponse:
        return HttpResponse("paid")

    class Shop(Django):
        def urls(self, engine: Recorder, gate: threading.Event) -> Any:
            urls = super().urls(engine, gate)
            urls.urlpatterns = [
                path("shop/", include([path("pay/<slug:what>/", pay)])),
                re_path(r"^year/(?P<year>[0-9]{4})/$", pay),
                *urls.urlpatterns,
            ]
            return urls

    with Shop().session() as it, force_shed(Tier.HIGH, engine=it.engine):
        client = it.client
        assert isinstance(client, HttpClient)
        with _http(client) as http:
            assert http.get("/shop/pay/now/").status_code == 200
            assert http.get("/year/2026/").status_code == 200
            assert http.get("/items/7").status_code == 503
            assert http.get("/nothing").status_code == 503
    assert set(it.engine.routes) == {
        "GET /shop/pay/{what}/",
        "GET /year/{year}/",
        "GET /items/{id}",
        "GET {unmatched}",
    }


# --- options -------------------------------------------------------------------------------------------------

MAKERS = {
    "wsgi": lambda **options: wsgi.AtrionMiddleware(lambda environ, start: [], Atrion(), **options),
    "flask": lambda **options: flask.install(Flask("x"), Atrion(), **options),
    "fastapi": lambda **options: fastapi.install(FastAPI(), Atrion(), **options),
    "litestar": lambda **options: litestar.AtrionPlugin(Atrion(), **options),
    "aiohttp": lambda **options: aiohttp.install(web.Application(), Atrion(), **options),
    "grpc": lambda **options: ServerInterceptor(Atrion(), **options),
}


async def asynchronous(request: object) -> None: ...


@pytest.mark.parametrize("framework", MAKERS)
@pytest.mark.parametrize(
    "options",
    [
        {"tier": "critical"},
        {"key": asynchronous},
        {"route": 1},
        {"tiers": {"checkout": "critical"}},
        {"tiers": {"/checkout": "urgent"}},
        {"exclude": "/health"},
        {"exclude": ["health"]},
        {"pool": ""},
        {"trust_tier_header": "yes"},
        {"trust_request_start": 1},
    ],
    ids=", ".join,
)
def test_an_unusable_option_is_refused_when_it_is_given(framework: str, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError) as refused:
        MAKERS[framework](**options)
    assert str(next(iter(options))) in str(refused.value)


def test_what_is_no_engine_or_application_is_refused() -> None:
    for install, app in ((flask.install, Flask("x")), (aiohttp.install, web.Application())):
        with pytest.raises(ConfigurationError, match="atrion"):
            install(app, "atrion")  # type: ignore[operator]  # as untyped callers may
        with pytest.raises(ConfigurationError, match=r"app.*None"):
            install(None, Atrion())  # type: ignore[operator]  # as untyped callers may


MODULES = {
    "flask": "flask",
    "django": "django",
    "fastapi": "fastapi",
    "litestar": "litestar",
    "aiohttp": "aiohttp",
    "aiohttp_client": "aiohttp",
    "grpc": "grpc",
    "grpc_client": "grpc",
    "httpx": "httpx",
    "requests": "requests",
    "urllib3": "urllib3",
    "sqlalchemy": "sqlalchemy",
    "redis": "redis",
    "celery": "celery",
    "dramatiq": "dramatiq",
    "arq": "arq",
    "taskiq": "taskiq",
    "tenacity": "tenacity",
    "stamina": "stamina",
}
"""What each module needs: its extra has the same name."""


@pytest.mark.parametrize("module", MODULES)
def test_a_missing_framework_names_the_command_that_installs_it(module: str) -> None:
    package = MODULES[module]
    program = f"import sys; sys.modules[{package!r}] = None; import atrion.integrations.{module}"
    failed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert failed.returncode == 1
    assert f'pip install "atrion[{package}]"' in failed.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    "service", [each for each in HTTP if each.title != "Litestar"], ids=lambda s: s.title
)
def test_tiers_by_path_count_after_the_header(service: Incoming) -> None:
    tiers = {"/items/*": "critical"}
    with service.session(tiers=tiers, pool="shop") as it, force_shed(Tier.HIGH, engine=it.engine):
        assert it.client.ask("item").status == "200"
        assert it.client.ask("item", tier="bulk").status == "503"
        assert it.client.ask("raise").status == "503"
        assert it.engine.snapshot()[service.route("item")].pool == "shop"
