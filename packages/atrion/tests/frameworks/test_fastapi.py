"""Guards of FastAPI and Litestar beyond the conformance table: dependencies, decorators, the schema."""

from __future__ import annotations

from fastapi import Depends, FastAPI
from litestar import get
from starlette.routing import Mount

from atrion import FlowRejected, Outcome, Tier
from atrion.integrations import fastapi, litestar
from atrion.testing import force_shed
from packages.atrion.tests.conformance.subject import Recorder
from packages.atrion.tests.frameworks.over_http import over_asgi


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
