"""A Django project in one file: python examples/servers/django_shop.py 8000, or uvicorn django_shop:asgi."""

import sys
from wsgiref.simple_server import make_server

import django
from django.conf import settings
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpRequest, JsonResponse
from django.urls import path

settings.configure(
    ALLOWED_HOSTS=["127.0.0.1", "localhost"],
    ROOT_URLCONF=__name__,
    MIDDLEWARE=["atrion.integrations.django.AtrionMiddleware"],
    ATRION={
        "EXCLUDE": ["/health"],
        "KEY": lambda request: request.headers.get("x-user"),
        "TIERS": {"/export/*": "bulk"},
    },
)
django.setup()

from atrion.integrations.django import tier  # noqa: E402  # Django wants its settings first


def item(request: HttpRequest, item: int) -> JsonResponse:
    return JsonResponse({"item": item})


@tier("critical")
async def checkout(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"paid": True})


urlpatterns = [path("items/<int:item>", item), path("checkout", checkout), path("health", item, {"item": 0})]
wsgi, asgi = WSGIHandler(), ASGIHandler()

if __name__ == "__main__":
    make_server("127.0.0.1", int(sys.argv[1]), wsgi).serve_forever()
