"""The service of the conformance table in Django, behind WSGI and behind ASGI."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import django
from django.conf import settings
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.http import Http404, HttpResponse, StreamingHttpResponse
from django.test.utils import override_settings
from django.urls import clear_url_caches, path

from packages.atrion.tests.conformance.incoming import HttpClient, Incoming
from packages.atrion.tests.conformance.serving import (
    async_until,
    served_by_threads,
    served_by_uvicorn,
    shed_within,
    until,
    wait_for,
)
from packages.atrion.tests.conformance.subject import Recorder

__all__ = ["DJANGO"]

if not settings.configured:
    settings.configure(
        ALLOWED_HOSTS=["*"],
        SECRET_KEY="x",
        LOGGING_CONFIG=None,
        LOGGING={},
        MIDDLEWARE=[
            "atrion.integrations.django.AtrionMiddleware",
            "django.middleware.common.CommonMiddleware",
        ],
    )
    django.setup()


class Django(Incoming):
    title = "Django, WSGI"

    def user(self, request: Any) -> str | None:
        found: str | None = request.headers.get("x-user")
        return found

    def urls(self, engine: Recorder, gate: threading.Event) -> Any:
        urls: Any = ModuleType("urls")

        def item(request: Any, **given: Any) -> HttpResponse:
            return HttpResponse("ok")

        def missing(request: Any) -> HttpResponse:
            raise Http404

        def broken(request: Any) -> HttpResponse:
            return HttpResponse("no", status=500)

        def fail(request: Any) -> HttpResponse:
            raise RuntimeError("boom")

        def inner(request: Any) -> HttpResponse:
            shed_within(engine)
            raise AssertionError

        def hold(request: Any) -> HttpResponse:
            gate.wait(20.0)
            return HttpResponse("ok")

        def stream(request: Any) -> StreamingHttpResponse:
            return StreamingHttpResponse(until(gate))

        urls.urlpatterns = [
            path("items/<int:id>", item),
            path("health", item),
            path("missing", missing),
            path("broken", broken),
            path("raise", fail),
            path("inner", inner),
            path("hold", hold),
            path("stream", stream),
        ]
        return urls

    @contextmanager
    def settings(self, engine: Recorder, gate: threading.Event, options: dict[str, Any]) -> Iterator[None]:
        given = {"ENGINE": engine, **{name.upper(): value for name, value in options.items()}}
        with override_settings(ROOT_URLCONF=self.urls(engine, gate), ATRION=given):
            clear_url_caches()
            yield
        clear_url_caches()

    @contextmanager
    def serve(self, engine: Recorder, gate: threading.Event, options: dict[str, Any]) -> Iterator[HttpClient]:
        with self.settings(engine, gate, options), served_by_threads(WSGIHandler()) as client:
            yield client


class AsyncDjango(Django):
    title = "Django, ASGI"
    cancels = True

    def urls(self, engine: Recorder, gate: threading.Event) -> Any:
        urls = super().urls(engine, gate)

        async def hold(request: Any) -> HttpResponse:
            await wait_for(gate)
            return HttpResponse("ok")

        async def stream(request: Any) -> StreamingHttpResponse:
            return StreamingHttpResponse(async_until(gate))

        urls.urlpatterns[-2:] = [path("hold", hold), path("stream", stream)]
        return urls

    @contextmanager
    def serve(self, engine: Recorder, gate: threading.Event, options: dict[str, Any]) -> Iterator[HttpClient]:
        with self.settings(engine, gate, options), served_by_uvicorn(ASGIHandler()) as client:
            yield client


DJANGO = (Django(), AsyncDjango())
