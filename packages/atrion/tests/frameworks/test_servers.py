"""Options of the guards of servers, what they refuse, and the extras that they need."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from aiohttp import web
from fastapi import FastAPI
from flask import Flask

from atrion import Atrion, ConfigurationError, Tier
from atrion.integrations import aiohttp, fastapi, flask, litestar, wsgi
from atrion.integrations.grpc import ServerInterceptor
from atrion.testing import force_shed
from packages.atrion.tests.conformance.http_services import HTTP
from packages.atrion.tests.conformance.incoming import Incoming

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
