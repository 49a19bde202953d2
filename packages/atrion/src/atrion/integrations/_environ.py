"""Requests as WSGI has them."""

from __future__ import annotations

from typing import Any, Unpack

from atrion.engine import Atrion
from atrion.integrations._admission import Admission, Options
from atrion.integrations._names import METHODS, Shapes

__all__ = ["Environ", "EnvironAdmission"]

Environ = dict[str, Any]


class EnvironAdmission(Admission[Environ]):
    """Reads a WSGI environment; routes are named by the shapes of paths."""

    def __init__(self, atrion: Atrion, **options: Unpack[Options[Environ]]) -> None:
        super().__init__(atrion, **options)
        self._shapes = Shapes()

    def method(self, request: Environ) -> str:
        return str(request.get("REQUEST_METHOD", "GET"))

    def path(self, request: Environ) -> str:
        raw = str(request.get("PATH_INFO", "")) or "/"
        return raw.encode("latin-1", "replace").decode("utf-8", "replace")  # as PEP 3333 has it

    def header(self, request: Environ, name: str) -> str | None:
        value = request.get("HTTP_" + name.upper().replace("-", "_"))
        return None if value is None else str(value)

    def address(self, request: Environ) -> str | None:
        return str(request.get("REMOTE_ADDR", "")) or None

    def find(self, request: Environ) -> tuple[str, object]:
        return f"{self.verb(request)} {self._shapes.shape(self.path(request))}", None

    def verb(self, request: Environ) -> str:
        """The method in a route's name; clients can make up any number of others, which share ``OTHER``."""
        method = self.method(request)
        return method if method in METHODS else "OTHER"
