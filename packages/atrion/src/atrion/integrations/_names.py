"""Names of an application's routes: one for each, wherever the middleware stands, and a bounded number of them."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator, MutableMapping
from typing import Any

__all__ = ["UNMATCHED", "RouteNames", "Scope", "Shapes"]

Scope = MutableMapping[str, Any]

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "QUERY"})
"""Methods that get ids of their own; clients can make up any number of others, which share ``OTHER``."""
MAX_SEGMENTS = 6
MAX_SEGMENT = 24
"""Characters above which a segment is taken for an id."""
SIBLINGS = 24
"""Segments told apart below one path; what comes later is taken for slugs, and shares a name."""
PER_DEPTH = 240
"""Paths told apart at one depth."""
MAX_NESTING = 16
FULL = 2
"""Starlette's ``Match`` of path and method; 1 is of the path alone, 0 is none."""
UNMATCHED = "{unmatched}"
DEFAULT = "{default}"
TAIL = "/{path}"

_ID = re.compile(
    r"[+-]?\d+"  # a number
    r"|\{?[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\}?"  # a UUID
    r"|(0x)?[0-9a-f]{8,}"  # hexadecimal
    r"|(?=[a-f]*\d)[0-9a-f]{4,}"  # short hexadecimal, told from a word by its digits
    r"|(\D*\d){4,}.*"  # dates, order numbers, tokens
    r"|.*[^\w.~-].*",  # what no programmer names a resource
    re.IGNORECASE | re.ASCII | re.DOTALL,
)


class RouteNames:
    """Names of what an ASGI ``app`` serves, such as ``GET /v1/items/{id}``.

    The application's routers are asked for their templates, from the outermost one down, and through wrappers that
    keep what they wrap as ``app``. What matches none of them is ``GET {unmatched}`` until it is seen to be answered.
    Where there is no router, names are the shapes of paths.
    """

    def __init__(self, app: object) -> None:
        self._app = app
        self._routers: dict[int, tuple[object, Any]] = {}
        self._shapes = Shapes()
        self._answered: set[str] = set()

    def path(self, scope: Scope) -> str:
        """The path that a client sends, after the prefix under which the server or the application is reached."""
        root, path = self._root(scope), str(scope.get("path", "/"))
        within = path.startswith(root) and path[len(root) : len(root) + 1] in {"", "/"}
        return (path[len(root) :] if root and within else path) or "/"

    def name(self, scope: Scope) -> str:
        """The name of the route that serves ``scope``."""
        router = self._router(scope)
        if router is None:
            return _joined(scope, self._shapes.shape(self.path(scope)))
        # A scope of its own, without what FastAPI has noted on its way here: it takes notes in what it is asked about.
        found = self._template(router, {**scope, "root_path": self._root(scope), "fastapi": {}})
        if found is not None:
            return _joined(scope, found)
        shape = _joined(scope, self._shapes.shape(self.path(scope), learn=False))
        return shape if shape in self._answered else _joined(scope, UNMATCHED)

    def shape(self, scope: Scope) -> str:
        """The name by the shape of the path alone."""
        return _joined(scope, self._shapes.shape(self.path(scope)))

    def answered(self, scope: Scope) -> None:
        """What no router knows was served: by a fallback, or by some middleware. Such paths get names of their own."""
        self._answered.add(self.shape(scope))

    def _router(self, scope: Scope) -> Any:
        """The outermost router: the one that came first, where this is asked below one."""
        for owner in (scope.get("router"), self._app, scope.get("app")):
            router = None if owner is None else self._router_in(owner)
            if router is not None:
                return router
        return None

    def _router_in(self, app: object) -> Any:
        """The router in ``app``, or None; looked for once."""
        known = self._routers.get(id(app))
        if known is None:
            self._routers[id(app)] = known = app, _router_of(app)
        return known[1]

    def _template(self, router: Any, scope: Scope, depth: int = 0) -> str | None:
        """The template of what ``router`` serves ``scope`` with, or None; a 405 has a route too."""
        chosen = _select(router.routes, scope)
        if chosen is None and getattr(router, "redirect_slashes", False):
            path = scope["path"]
            scope = {**scope, "path": path.rstrip("/") if path.endswith("/") else path + "/"}
            chosen = _select(router.routes, scope)  # it will be redirected there
        if chosen is None:
            return _frontend(router, scope) or _default(router)
        candidate, child = chosen
        route = getattr(candidate, "starlette_route", None) or candidate
        template = _path_of(route)
        inner = self._router_in(route.app) if hasattr(route, "routes") and depth < MAX_NESTING else None
        if inner is None:
            return template
        found = self._template(inner, {**scope, **child}, depth + 1)
        return None if found is None else template.removesuffix(TAIL) + found

    def _root(self, scope: Scope) -> str:
        """The prefix of the outermost application; mounts below it have added theirs to ``root_path``."""
        root = scope.get("app_root_path")
        if root is None:
            root = scope.get("root_path") or _told_root(self._app)
        return str(root).rstrip("/")


def _joined(scope: Scope, path: str) -> str:
    method = scope.get("method", "GET")
    return f"{method if method in METHODS else 'OTHER'} {path}"


# --- routers in Starlette's manner ---------------------------------------------------------------------------


def _unwrapped(app: Any) -> Iterator[Any]:
    """``app``, and what it wraps."""
    for _ in range(MAX_NESTING):
        if app is None:
            return
        if inspect.ismethod(app):  # as a router gives its own to its middleware
            app = app.__self__
        yield app
        app = getattr(app, "app", None)


def _router_of(app: Any) -> Any:
    """The router in ``app``, or None."""
    for owner in _unwrapped(app):
        routes = getattr(owner, "routes", None)
        if isinstance(routes, (list, tuple)) and all(
            callable(getattr(route, "matches", None)) for route in routes
        ):
            return getattr(owner, "router", owner)
    return None


def _told_root(app: Any) -> str:
    """The ``root_path`` that a FastAPI application was made with, which it puts into the scope later."""
    for owner in _unwrapped(app):
        root = getattr(owner, "root_path", None)
        if isinstance(root, str):
            return root
    return ""


def _select(routes: Iterable[Any], scope: Scope) -> tuple[Any, Scope] | None:
    """The first route that matches fully, else the first that matches at all; and what it adds to the scope."""
    partial: tuple[Any, Scope] | None = None
    for candidate in _flat(routes):
        match, child = candidate.matches(scope)
        rank = getattr(match, "value", match)
        if rank == FULL:
            return candidate, child
        if rank and partial is None:
            partial = candidate, child
    return partial


def _flat(routes: Iterable[Any]) -> Iterator[Any]:
    for route in routes:
        included = getattr(route, "effective_route_contexts", None)  # FastAPI's include_router
        if callable(included):
            yield from included()
        else:
            yield route


def _path_of(route: Any) -> str:
    """A route's template; a mount's ends in ``/{path}``, and a host's is its name."""
    for field in ("path_format", "path", "host_format"):
        value = getattr(route, field, None)
        if isinstance(value, str):
            return value
    return UNMATCHED


def _default(router: Any) -> str | None:
    """The name of what a router was told to do with what it does not know."""
    default = getattr(router, "default", None)
    return DEFAULT if default is not None and default != getattr(router, "not_found", default) else None


def _frontend(router: Any, scope: Scope) -> str | None:
    """The template of FastAPI's ``app.frontend`` that serves ``scope``, the longest one, or None.

    FastAPI keeps these apart from its ``routes``, in an attribute of its own. Without that, they are learned by their
    answers.
    """
    groups = list(getattr(router, "_low_priority_routes", ()))
    for route in router.routes:
        included = getattr(route, "effective_low_priority_routes", None)
        groups += included() if callable(included) else ()
    paths = []
    for group in groups:
        prefix = getattr(group, "frontend_prefix", "")
        for route in getattr(getattr(group, "original_route", group), "routes", ()):
            path = prefix + route.path.rstrip("/") or "/"
            match, _ = route.matches_with_path(scope, path)
            if getattr(match, "value", match):
                paths.append(path.rstrip("/"))
    return max(paths, key=len) + TAIL if paths else None


# --- without a router ----------------------------------------------------------------------------------------


class Shapes:
    """Shapes of paths, of bounded variety.

    Segments that look like ids become ``{id}``, what is deep is cut off, and where there are more segments below one
    path than programmers make up, those that come later become ``{…}``.
    """

    def __init__(self) -> None:
        self._children: dict[str, int] = {}
        self._known: set[str] = set()
        self._at_depth = [0] * MAX_SEGMENTS

    def shape(self, path: str, learn: bool = True) -> str:
        """The shape of ``path``; without ``learn``, what is new is a slug already."""
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
        """Tell ``path`` apart from now on, if there is room."""
        children = self._children.get(parent, 0)
        if children >= SIBLINGS or self._at_depth[depth] >= PER_DEPTH:
            return False
        self._children[parent] = children + 1
        self._at_depth[depth] += 1
        self._known.add(path)
        return True
