"""Names of an application's routes: independent of the middleware's position, and bounded in number."""

from __future__ import annotations

import re
from typing import Final

from atrion.integrations._routers import (
    MAX_NESTING,
    TAIL,
    UNMATCHED,
    Router,
    Scope,
    router_in,
    told_root,
    within,
)

__all__ = ["UNMATCHED", "RouteNames", "Scope", "Shapes"]

METHODS: Final = frozenset(
    {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "QUERY"}
)
"""Methods with ids of their own; all others, which clients can invent, share ``OTHER``."""
MAX_SEGMENTS: Final = 6
MAX_SEGMENT: Final = 24
"""Length above which a segment is treated as an id."""
SIBLINGS: Final = 24
"""Segments distinguished below one path; later ones are treated as slugs and share a name."""
PER_DEPTH: Final = 240
"""Paths distinguished at one depth."""
MAX_APPS: Final = 1000
"""Applications whose routers are cached; an application may mount a new one for each request."""

_ID: Final = re.compile(
    r"[+-]?\d+"  # a number
    r"|\{?[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\}?"  # a UUID
    r"|(0x)?[0-9a-f]{8,}"  # hexadecimal
    r"|(?=[a-f]*\d)[0-9a-f]{4,}"  # short hexadecimal, distinguished from a word by its digits
    r"|(\D*\d){4,}.*"  # dates, order numbers, tokens
    r"|.*[^\w.~-].*",  # what no programmer names a resource
    re.IGNORECASE | re.ASCII | re.DOTALL,
)


class RouteNames:
    """Names of the routes of an ASGI ``app``, such as ``GET /v1/items/{id}``.

    They are the path templates of the application's routers, from the outermost one down, also through wrappers that
    have the wrapped application as ``app``. Requests that match none are ``GET {unmatched}``, until a response below
    400 is seen. Without a router, names are the shapes of paths.
    """

    def __init__(self, app: object) -> None:
        self._app = app
        self._told_root = told_root(app)
        self._routers: dict[int, tuple[object, Router | None]] = {}
        self._shapes = Shapes()
        self._answered: set[str] = set()

    def path(self, scope: Scope) -> str:
        """The path that a client sends, after the prefix under which the server or the application is reached."""
        return within(str(scope.get("path", "/")), self._root(scope)) or "/"

    def name(self, scope: Scope) -> str:
        """The name of the route that serves ``scope``."""
        router = self._router(scope)
        if router is None:
            return _joined(scope, self._shapes.shape(self.path(scope)))
        root = self._root(scope)
        found = self._template(
            router, scope if scope.get("root_path") == root else {**scope, "root_path": root}
        )
        if found is not None:
            return _joined(scope, found)
        shape = _joined(scope, self._shapes.shape(self.path(scope), learn=False))
        return shape if shape in self._answered else _joined(scope, UNMATCHED)

    def shape(self, scope: Scope) -> str:
        """The name by the shape of the path alone."""
        return _joined(scope, self._shapes.shape(self.path(scope)))

    def answered(self, scope: Scope) -> None:
        """A request without a route was answered by a fallback or a middleware: its path gets a name of its own."""
        self._answered.add(self.shape(scope))

    def _router(self, scope: Scope) -> Router | None:
        """The outermost router; below a router, the one that the request passed first."""
        inner = scope.get("router")
        router = None if inner is None else self._router_in(inner)
        if router is None:
            router = self._router_in(self._app)
        if router is None:
            outer = scope.get("app")
            router = None if outer is None else self._router_in(outer)
        return router

    def _router_in(self, app: object) -> Router | None:
        """The router in ``app``, or None; cached."""
        known = self._routers.get(id(app))
        if known is None:
            if len(self._routers) >= MAX_APPS:
                self._routers.clear()
            self._routers[id(app)] = known = app, router_in(app)
        return known[1]

    def _template(self, router: Router, scope: Scope, depth: int = 0) -> str | None:
        """The path template of the route of ``router`` for ``scope``, or None; a 405 has a route, too."""
        chosen = router.select(scope)
        if chosen is None:
            return router.fallback(scope)
        entry, child = chosen
        inner = self._router_in(entry.route.app) if entry.mount and depth < MAX_NESTING else None
        if inner is None:
            return entry.template
        found = self._template(inner, {**scope, **child}, depth + 1)
        return None if found is None else entry.template.removesuffix(TAIL) + found

    def _root(self, scope: Scope) -> str:
        """The prefix of the outermost application; mounts below it have added theirs to ``root_path``."""
        root = scope.get("app_root_path")
        if root is None:
            root = scope.get("root_path") or self._told_root
        return str(root).rstrip("/")


def _joined(scope: Scope, path: str) -> str:
    method = scope.get("method", "GET")
    return f"{method if method in METHODS else 'OTHER'} {path}"


# --- without a router ----------------------------------------------------------------------------------------


class Shapes:
    """Shapes of paths, bounded in number.

    Segments that look like ids become ``{id}``, deep paths are cut off, and below each path segments beyond a fixed
    number become ``{…}``.
    """

    def __init__(self) -> None:
        self._children: dict[str, int] = {}
        self._known: set[str] = set()
        self._at_depth = [0] * MAX_SEGMENTS

    def shape(self, path: str, learn: bool = True) -> str:
        """The shape of ``path``; without ``learn``, unknown segments are treated as slugs."""
        shape = ""
        segments = [segment for segment in path[:4096].split("/") if segment]
        for depth, segment in enumerate(segments[:MAX_SEGMENTS]):
            if len(segment) > MAX_SEGMENT or _ID.fullmatch(segment):
                shape = f"{shape}/{{id}}"
                continue
            below = f"{shape}/{segment}"
            if below not in self._known and not (learn and self._add(shape, below, depth)):
                below = f"{shape}/{{…}}"
            shape = below
        return shape or "/"

    def _add(self, parent: str, path: str, depth: int) -> bool:
        """Distinguish ``path`` from now on, if there is room."""
        children = self._children.get(parent, 0)
        if children >= SIBLINGS or self._at_depth[depth] >= PER_DEPTH:
            return False
        self._children[parent] = children + 1
        self._at_depth[depth] += 1
        self._known.add(path)
        return True
