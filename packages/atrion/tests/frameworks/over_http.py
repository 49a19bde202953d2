"""Applications behind a real server, and a client of theirs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from packages.atrion.tests.conformance.incoming import HttpClient, unkept
from packages.atrion.tests.conformance.serving import served_by_threads, served_by_uvicorn


@contextmanager
def over_wsgi(app: Any) -> Iterator[httpx.Client]:
    with served_by_threads(app) as client, http_of(client) as http:
        yield http


@contextmanager
def over_asgi(app: Any) -> Iterator[httpx.Client]:
    with served_by_uvicorn(app) as client, http_of(client) as http:
        yield http


def http_of(client: HttpClient) -> httpx.Client:
    return unkept(client.port)
