"""Options of the middleware over real HTTP: tiers by path, one's own answers, preflight, shadow mode, kill switch."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import JSONResponse

from atrion import Atrion, ConfigurationError, Decision, PhysicsVector
from atrion.integrations.asgi import AtrionMiddleware
from atrion.testing import VirtualClock
from packages.atrion.tests.integration.test_asgi import plain, press, serve


@pytest.fixture
def engine() -> Atrion:
    return Atrion(clock=VirtualClock())


def service(**options: Any) -> FastAPI:
    app = FastAPI()

    @app.get("/checkout/{order}")
    @app.post("/checkout/{order}")
    @app.get("/search")
    def answer() -> str:
        return "ok"

    app.add_middleware(AtrionMiddleware, **options)
    return app


def scar(engine: Atrion, route: str) -> None:
    engine.restore(route, PhysicsVector(0.0, 0.0, 200.0, 0.0))


def test_tiers_by_path_and_the_longest_pattern_counts(engine: Atrion) -> None:
    tiers = {"/*": "bulk", "/checkout/*": "critical", "POST /checkout/*": "low"}
    for route in ("GET /checkout/{order}", "POST /checkout/{order}", "GET /search"):
        press(engine, route)
    engine.configure("GET /search", tier="critical")  # the path's tier goes before the route's
    with serve(service(atrion=engine, tiers=tiers)) as client:
        assert client.get("/checkout/7").status_code == 200
        assert client.post("/checkout/7").status_code == 503
        assert client.get("/search").status_code == 503


def test_a_tier_by_function_or_trusted_header_goes_before_one_by_path(engine: Atrion) -> None:
    press(engine, "GET /search")
    press(engine, "GET /checkout/{order}")

    def tier(scope: Any) -> str | None:
        return "critical" if scope["path"] == "/search" else None

    app = service(atrion=engine, tier=tier, tiers={"*": "bulk"}, trust_tier_header=True)
    with serve(app) as client:
        assert client.get("/search").status_code == 200
        assert client.get("/checkout/7").status_code == 503
        assert client.get("/checkout/7", headers={"X-Atrion-Tier": "critical"}).status_code == 200


def test_without_any_of_them_a_request_has_the_tier_of_its_route(engine: Atrion) -> None:
    press(engine, "GET /search")
    engine.configure("GET /search", tier="critical")
    with serve(service(atrion=engine)) as client:
        assert client.get("/search").status_code == 200


@pytest.mark.parametrize(
    "tiers, words",
    [
        ({"checkout/*": "critical"}, "tiers must be .*, got 'checkout/\\*'"),
        ({"/checkout/*": "crit"}, r"tiers\['/checkout/\*'\] must be one of critical, .*, got 'crit'"),
        ([("/", "low")], "tiers must be tiers by path"),
    ],
)
def test_unusable_tiers_are_refused_in_words(tiers: Any, words: str, engine: Atrion) -> None:
    with pytest.raises(ConfigurationError, match=words):
        AtrionMiddleware(plain, engine, tiers=tiers)


def test_an_answer_of_ones_own(engine: Atrion) -> None:
    def response(scope: Any, decision: Decision) -> JSONResponse:
        return JSONResponse(
            {"busy": scope["path"], "reason": str(decision.reason)}, 429, {"cache-control": "private"}
        )

    scar(engine, "GET /search")
    with serve(service(atrion=engine, response=response)) as client:
        answer = client.get("/search")
    assert answer.status_code == 429
    assert answer.json() == {"busy": "/search", "reason": "resistance"}
    assert int(answer.headers["retry-after"]) >= 1
    assert answer.headers["cache-control"] == "private"


def test_an_answer_that_cannot_be_made_is_the_usual_one(
    engine: Atrion, caplog: pytest.LogCaptureFixture
) -> None:
    def response(scope: Any, decision: Decision) -> Any:
        raise RuntimeError("no template")

    scar(engine, "GET /search")
    with serve(service(atrion=engine, response=response)) as client:
        answers = [client.get("/search") for _ in range(2)]
    assert [answer.status_code for answer in answers] == [503, 503]
    assert answers[0].headers["content-type"] == "application/problem+json"
    assert len([record for record in caplog.records if record.name == "atrion.asgi"]) == 1
    with pytest.raises(ConfigurationError, match=r"response must be .*, got 503"):
        AtrionMiddleware(plain, engine, response=503)  # type: ignore[arg-type]  # wrong on purpose


def test_a_preflight_is_never_shed_nor_measured(engine: Atrion) -> None:
    for method in ("OPTIONS", "GET"):
        scar(engine, f"{method} /search")
    app = service(atrion=engine)
    inner = CORSMiddleware(app, allow_origins=["https://shop.example"])
    preflight = {"Origin": "https://shop.example", "Access-Control-Request-Method": "GET"}
    before = engine.snapshot()
    with serve(AtrionMiddleware(inner, engine)) as client:
        answer = client.options("/search", headers=preflight)
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == "https://shop.example"
        assert engine.snapshot() == before
        assert client.options("/search").status_code == 503  # no preflight
    with serve(inner) as client:  # CORS outside: browsers may read what shed requests are answered
        answer = client.get("/search", headers={"Origin": "https://shop.example"})
        assert answer.status_code == 503
        assert answer.headers["access-control-allow-origin"] == "https://shop.example"


def test_shadow_mode_answers_everything_and_counts(engine: Atrion) -> None:
    engine.configure("*", enforce=False)
    scar(engine, "GET /search")
    with serve(service(atrion=engine)) as client:
        assert {client.get("/search").status_code for _ in range(8)} == {200}
    seen = engine.snapshot()["GET /search"]
    assert (seen.admitted, seen.shed) == (8, 0)
    assert seen.would_shed > 0


def test_a_disabled_engine_is_passed_by(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATRION_DISABLED", "1")
    engine = Atrion()
    with serve(service(atrion=engine, pool="db")) as client:
        assert client.get("/search").json() == "ok"
    assert engine.snapshot() == {}
