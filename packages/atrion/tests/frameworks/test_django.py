"""Guards of Django beyond the conformance table: settings, decorators and names."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from django.test.utils import override_settings

from atrion import Atrion, ConfigurationError, Tier
from atrion.integrations import django
from atrion.testing import force_shed
from packages.atrion.tests.conformance.django_services import Django
from packages.atrion.tests.conformance.incoming import HttpClient
from packages.atrion.tests.conformance.subject import Recorder
from packages.atrion.tests.frameworks.over_http import http_of

SHARED = Atrion()


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
        assert django.engine() is SHARED


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
        with http_of(client) as http:
            assert http.get("/shop/pay/now/").status_code == 200
            assert http.get("/year/2026/").status_code == 200
            assert http.get("/items/7").status_code == 503
            assert http.get("/nothing").status_code == 503
    assert set(it.engine.snapshot()) == {
        "GET /shop/pay/{what}/",
        "GET /year/{year}/",
        "GET /items/{id}",
        "GET {unmatched}",
    }
