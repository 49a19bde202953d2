"""Guards of Flask and WSGI beyond the conformance table: names, tiers, answers of one's own, files and streams."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import httpx
import pytest
from flask import Flask

from atrion import Atrion, Outcome, Tier
from atrion.integrations import flask, wsgi
from atrion.testing import force_shed
from packages.atrion.tests.conformance.incoming import unkept
from packages.atrion.tests.conformance.subject import Recorder, in_background
from packages.atrion.tests.frameworks.over_http import over_wsgi


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
    assert set(engine.snapshot()) == {
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
