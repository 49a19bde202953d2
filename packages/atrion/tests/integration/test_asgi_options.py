"""Options of the middleware over real HTTP: tiers by path, one's own answers, preflight, shadow mode, kill switch."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import JSONResponse
from starlette.applications import Starlette
from starlette.routing import Route

from atrion import Atrion, ConfigurationError, Decision, PhysicsVector
from atrion.integrations.asgi import AtrionMiddleware
from atrion.testing import VirtualClock
from packages.atrion.tests.integration.asgi_services import (
    ask,
    guarded,
    page,
    plain,
    press,
    serve,
    shop,
    sicken,
)


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


@pytest.mark.parametrize("trusted", [True, False])
def test_the_tier_header_counts_only_when_trusted(trusted: bool, engine: Atrion, clock: VirtualClock) -> None:
    options: dict[str, Any] = {"key": lambda scope: "x", "trust_tier_header": trusted}
    with serve(guarded(engine, **options)) as client:
        press(engine, "GET /a")
        assert client.get("/a").status_code == 503
        assert client.get("/a", headers={"X-Atrion-Tier": "emperor"}).status_code == 503
        response = client.get("/a", headers={"X-Atrion-Tier": "Critical"})
        assert response.status_code == (200 if trusted else 503)


def test_tier_and_key_come_from_the_scope(engine: Atrion, clock: VirtualClock) -> None:
    def tier(scope: Any) -> str:
        return dict(scope["headers"])[b"x-plan"].decode()  # type: ignore[no-any-return]  # KeyError without one

    with serve(guarded(engine, tier=tier, key=lambda scope: "x")) as client:
        press(engine, "GET /a")
        assert client.get("/a", headers={"x-plan": "critical"}).status_code == 200
        assert client.get("/a", headers={"x-plan": "bulk"}).status_code == 503
        assert client.get("/a").status_code == 503  # tier() raised: NORMAL
        assert client.get("/b").status_code == 200


def test_excluded_paths_are_neither_shed_nor_measured(engine: Atrion, clock: VirtualClock) -> None:
    with serve(guarded(engine, exclude=("/health/",), route=lambda scope: "r")) as client:
        sicken(engine, clock, "r")
        assert client.get("/health").status_code == 200
        assert client.get("/health/deep").status_code == 200
        assert client.get("/healthy").status_code == 503
    assert engine.snapshot()["r"].admitted == 0


async def an_async_tier(scope: Any) -> str:
    return "high"


@pytest.mark.parametrize(
    "field,value",
    [
        ("app", None),
        ("atrion", None),
        ("tier", "high"),
        ("tier", an_async_tier),
        ("key", 1),
        ("route", "/a"),
        ("exclude", "/health"),
        ("exclude", 3),
        ("exclude", ["health"]),
        ("trust_tier_header", "yes"),
    ],
)
def test_wrong_configuration_names_the_field(field: str, value: Any, engine: Atrion) -> None:
    options: dict[str, Any] = {"app": plain, "atrion": engine, field: value}
    with pytest.raises(ConfigurationError, match=rf"^{field} must be .*, got ") as caught:
        AtrionMiddleware(**options)
    assert caught.value.field == field


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
