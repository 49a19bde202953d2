"""Routers in Starlette's manner, asked for the template of what serves a request without walking all their routes."""

from __future__ import annotations

import inspect
import re
import sys
import time
from collections.abc import Iterable, Iterator, MutableMapping, Sequence
from operator import attrgetter, itemgetter
from typing import Any, Final

__all__ = [
    "MAX_NESTING",
    "TAIL",
    "UNMATCHED",
    "Router",
    "Scope",
    "flat",
    "path_of",
    "router_in",
    "told_root",
    "within",
]

Scope = MutableMapping[str, Any]

MAX_NESTING: Final = 16
GLANCE: Final = 1.0
"""Seconds between looks at whether a router's routes have changed."""
FULL: Final = 2
"""Starlette's ``Match`` of path and method; 1 is of the path alone, 0 is none."""
UNMATCHED: Final = "{unmatched}"
DEFAULT: Final = "{default}"
TAIL: Final = "/{path}"
TEXT: Final = "[^/]+"
"""Starlette's pattern of a parameter without a type."""
FRAMEWORKS: Final = frozenset({"starlette.routing", "fastapi.routing"})
"""Modules whose routes match a path by ``path_regex``, which ``path_format`` and ``param_convertors`` have made."""

_PARAMETER: Final = re.compile(r"\{([a-zA-Z_][a-zA-Z0-9_]*)\}")


def within(path: str, root: str) -> str:
    """What follows ``root`` in ``path``, as Starlette reads it; all of ``path`` where it is not below ``root``."""
    if root and path.startswith(root) and path[len(root) : len(root) + 1] in {"", "/"}:
        return path[len(root) :]
    return path


class Router:
    """A router and an index of its routes by the segments of their templates.

    The index leaves few routes to be asked whether they match: those whose fixed segments are the path's, and those
    whose templates it cannot read. Whether routes were added, replaced or removed is looked at once a second, and
    whenever nothing matches.
    """

    def __init__(self, router: Any) -> None:
        self._router: Any = router
        self._lists: list[Any] = []
        self._before: list[Any] = []
        self._index = _Index(())
        self._due = 0.0

    def select(self, scope: Scope) -> tuple[Entry, Scope] | None:
        """The route that serves ``scope``, or redirects it, with what a mount adds to the scope; None if none does."""
        now = time.monotonic()
        if now >= self._due:
            self._due = now + GLANCE
            self._read()
        chosen = self._find(scope)
        return self._find(scope) if chosen is None and self._read() else chosen

    def fallback(self, scope: Scope) -> str | None:
        """The template of what serves a scope that no route matches, or None."""
        return _frontend(self._router, scope) or _default(self._router)

    def _find(self, scope: Scope) -> tuple[Entry, Scope] | None:
        chosen = self._index.select(scope)
        if chosen is None and getattr(self._router, "redirect_slashes", False):
            path = scope["path"]
            other = path.rstrip("/") if path.endswith("/") else path + "/"
            chosen = self._index.select({**scope, "path": other})  # it will be redirected there
        return chosen

    def _read(self) -> bool:
        """Make the index anew where the routes have changed; whether they have."""
        routes = self._router.routes
        if self._lists and self._lists[0] is routes and self._lists == self._before:
            return False
        self._lists = [routes, *_included_lists(routes)]
        self._before = [routes[:] for routes in self._lists]
        self._index = _Index(flat(routes))
        return True


class Entry:
    """A route in its place in the router's order."""

    __slots__ = ("_candidate", "_methods", "_plain", "_regex", "mount", "place", "route", "template")

    def __init__(
        self, place: int, candidate: Any, route: Any, regex: re.Pattern[str] | None, plain: bool
    ) -> None:
        self.place = place
        self.route = route
        self.template = path_of(route)
        self.mount = hasattr(route, "routes")
        self._candidate = candidate
        self._methods: Any = getattr(route, "methods", None)
        self._regex = regex
        """What decides, with the methods, whether it matches; None where it has to be asked."""
        self._plain = plain
        """Whether the pattern asks no more of a path than its segments, none of them empty."""

    def matches(self, path: str, scope: Scope, whole: bool) -> tuple[int, Scope]:
        """Starlette's rank of the match, and what the route adds to the scope where it has to be asked.

        The path has the fixed segments of the template; it is ``whole`` if it has no empty one, nor a line feed at its
        end.
        """
        if self._regex is None:
            # It gets a scope of its own, without what FastAPI has noted on its way here: it takes notes when asked.
            match, child = self._candidate.matches({**scope, "fastapi": {}})
            return getattr(match, "value", match), child
        if not (whole and self._plain) and self._regex.match(path) is None:
            return 0, NOTHING
        methods = self._methods
        return FULL if not methods or scope["method"] in methods else FULL - 1, NOTHING


class _Table:
    """Routes whose templates have parameters in the same segments, by the segments in between."""

    __slots__ = ("_fixed", "_routes")

    def __init__(self, fixed: Sequence[int]) -> None:
        self._fixed: Any = itemgetter(*fixed)
        self._routes: dict[Any, list[Entry]] = {}

    def add(self, segments: list[str | None], entry: Entry) -> None:
        self._routes.setdefault(self._fixed(segments), []).append(entry)

    def get(self, segments: list[str]) -> list[Entry] | None:
        """The routes that can match a path of these segments."""
        return self._routes.get(self._fixed(segments))


class _Index:
    """Routes in tables by the number of segments and by which of them are fixed: there are few such tables."""

    def __init__(self, candidates: Iterable[Any]) -> None:
        self._closed: dict[int, dict[tuple[int, ...], _Table]] = {}
        self._open: dict[tuple[int, ...], _Table] = {}
        """Tables of templates that may go on with any segments."""
        self._unread: list[Entry] = []
        self._depth = 0
        for place, candidate in enumerate(candidates):
            route = getattr(candidate, "starlette_route", None) or candidate
            segments, closed, plain = _segments(candidate, route)
            known = closed and hasattr(route, "methods")
            entry = Entry(place, candidate, route, route.path_regex if known else None, plain)
            fixed = tuple(number for number, segment in enumerate(segments) if segment is not None)
            if not fixed:
                self._unread.append(entry)
                continue
            tables = self._closed.setdefault(len(segments), {}) if closed else self._open
            tables.setdefault(fixed, _Table(fixed)).add(segments, entry)
            self._depth = max(self._depth, len(segments))

    def select(self, scope: Scope) -> tuple[Entry, Scope] | None:
        """The first route that matches fully, else the first that matches at all; and what it adds to the scope."""
        path: str = scope["path"]
        if scope["root_path"]:
            path = within(path, scope["root_path"])
        whole = "//" not in path and not path.endswith(("/", "\n"))
        # A pattern's end, "$", is also before a line feed at the end of the path.
        segments = path.removesuffix("\n").split("/", self._depth)
        count = len(segments)
        found = self._unread
        for table in self._closed.get(count, NONE).values():
            found = _merged(found, table.get(segments))
        for fixed, table in self._open.items():
            if count > fixed[-1]:
                found = _merged(found, table.get(segments))
        partial: tuple[Entry, Scope] | None = None
        for entry in found:
            rank, child = entry.matches(path, scope, whole)
            if rank == FULL:
                return entry, child
            if rank and partial is None:
                partial = entry, child
        return partial


NONE: Final[dict[tuple[int, ...], _Table]] = {}
NOTHING: Final[Scope] = {}
_place: Final = attrgetter("place")


def _merged(found: list[Entry], more: list[Entry] | None) -> list[Entry]:
    """Routes in the router's order, in which both lists are."""
    if more is None:
        return found
    return sorted(found + more, key=_place) if found else more


def _segments(candidate: Any, route: Any) -> tuple[list[str | None], bool, bool]:
    """The segments that a path needs to match, None where a parameter is.

    Also whether it has no more than these, and whether each parameter is any text of a whole segment.
    """
    segments: list[str | None] = []
    template = getattr(route, "path_format", None)
    convertors: Any = getattr(route, "param_convertors", None)
    regex = getattr(route, "path_regex", None)
    if (
        any(getattr(type(one).matches, "__module__", "") not in FRAMEWORKS for one in (candidate, route))
        or not isinstance(template, str)
        or not isinstance(regex, re.Pattern)
        or regex.flags != re.UNICODE  # somebody lets it ignore case
        or regex.pattern != _pattern(template, convertors)
    ):
        return segments, False, False
    plain = template.startswith("/")
    for segment in template.split("/"):
        parameters = _PARAMETER.findall(segment)
        if any(type(convertors[name]).__module__ != "starlette.convertors" for name in parameters):
            return segments, False, False
        if any(convertors[name].regex == ".*" for name in parameters):  # a path, which may have any segments
            return segments, False, False
        if parameters:
            plain = (
                plain
                and _PARAMETER.fullmatch(segment) is not None
                and convertors[parameters[0]].regex == TEXT
            )
        # Equal segments are one object, so that a look-up reads little memory.
        segments.append(None if parameters else sys.intern(segment))
    return segments, True, plain


def _pattern(template: str, convertors: Any) -> str:
    """The pattern that Starlette makes of a template."""
    parts = _PARAMETER.split(template)
    for number, part in enumerate(parts):
        parts[number] = f"(?P<{part}>{convertors[part].regex})" if number % 2 else re.escape(part)
    return f"^{''.join(parts)}$"


def flat(routes: Iterable[Any]) -> Iterator[Any]:
    """Routes, those of included routers in their places."""
    for route in routes:
        included = getattr(route, "effective_route_contexts", None)  # FastAPI's include_router
        if callable(included):
            yield from included()
        else:
            yield route


def path_of(route: Any) -> str:
    """A route's template; a mount's ends in ``/{path}``, and a host's is its name."""
    for field in ("path_format", "path", "host_format"):
        value = getattr(route, field, None)
        if isinstance(value, str):
            return value
    return UNMATCHED


def _included_lists(routes: Iterable[Any], depth: int = 0) -> Iterator[Any]:
    """The lists of the routes that FastAPI's ``include_router`` reads."""
    for route in routes:
        inner = getattr(getattr(route, "original_router", None), "routes", None)
        if isinstance(inner, list) and depth < MAX_NESTING:
            yield inner
            yield from _included_lists(inner, depth + 1)


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


# --- routers within applications -----------------------------------------------------------------------------


def router_in(app: object) -> Router | None:
    """The router in ``app``, or in what it wraps; None where there is none."""
    for owner in _unwrapped(app):
        routes = getattr(owner, "routes", None)
        if isinstance(routes, (list, tuple)) and all(
            callable(getattr(route, "matches", None)) for route in routes
        ):
            return Router(getattr(owner, "router", owner))
    return None


def told_root(app: object) -> str:
    """The ``root_path`` that a FastAPI application was made with, which it puts into the scope later."""
    for owner in _unwrapped(app):
        root = getattr(owner, "root_path", None)
        if isinstance(root, str):
            return root
    return ""


def _unwrapped(app: Any) -> Iterator[Any]:
    """``app``, and what it wraps."""
    for _ in range(MAX_NESTING):
        if app is None:
            return
        if inspect.ismethod(app):  # as a router gives its own to its middleware
            app = app.__self__
        yield app
        app = getattr(app, "app", None)
