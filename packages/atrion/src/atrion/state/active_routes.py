"""The routes that a pulse has to look at: all but those that rest."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Protocol

from atrion.state.port import NodeRow
from atrion.state.published_state import PublishedState

__all__ = ["ActiveRoutes", "RouteView"]


class RouteView(Protocol):
    """What the manager needs of a route."""

    at_rest: bool
    """Set while the pulse passes over the route. When the route then does anything but rest, its owner calls
    :meth:`ActiveRoutes.activate`, from any thread."""

    @property
    def id(self) -> str:
        """Route id."""
        ...

    @property
    def shared(self) -> bool:
        """Whether other nodes are told of it."""
        ...

    def advance(self, now: float) -> object:
        """Advance the law when a tick is due at ``now`` seconds."""
        ...

    def rests(self, now: float) -> bool:
        """Whether nothing but decay is due, which can as well be caught up with later."""
        ...

    def to_row(self) -> NodeRow:
        """What this node says of it."""
        ...

    def needs_publish(self, published: PublishedState) -> bool:
        """Whether this node has more to say than decay has made of what it said last."""
        ...

    def apply_cluster_scar(self, scar: float, evidence: float) -> None:
        """Take what the cluster says of it, once it has been advanced."""
        ...


class ActiveRoutes:
    """Of the routes of an engine, those that do not rest. Requests, in their threads, put routes here; a pulse reads.

    Args:
        routes: All routes by id; only read.
    """

    def __init__(self, routes: Mapping[str, RouteView]) -> None:
        self._routes = routes
        self._active: deque[RouteView] = deque()
        self._names: list[str] = []
        self._stale = True

    def add(self, view: RouteView) -> None:
        """A route is new."""
        self.activate(view)
        self._stale = True

    def changed(self) -> None:
        """A route is shared otherwise than before."""
        self._stale = True

    def activate(self, view: RouteView) -> None:
        """Let the pulse visit a route."""
        view.at_rest = False
        self._active.append(view)

    def activate_all(self) -> None:
        """Look at every route in the next pulse."""
        for view in list(self._routes.values()):
            if view.at_rest:
                self.activate(view)

    def find(self, route_id: str) -> RouteView | None:
        """The shared route of an id."""
        view = self._routes.get(route_id)
        return view if view is not None and view.shared else None

    def names(self) -> list[str]:
        """The ids of the shared routes: the same list as long as they are the same."""
        if self._stale:
            self._stale = False  # first, so that what changes meanwhile is seen the next time
            self._names = [view.id for view in list(self._routes.values()) if view.shared]
        return self._names

    def advance(self, now: float, is_published: Callable[[RouteView], bool]) -> dict[str, RouteView]:
        """Advance the shared routes that do not rest, and return them.

        A route rests when nothing but decay is due and all that there is to say of it ``is_published``.
        """
        active = {}
        for _ in range(len(self._active)):
            view = self._active.popleft()
            if self._routes.get(view.id) is not view:
                continue  # evicted
            if not view.shared or (view.rests(now) and is_published(view)):
                view.at_rest = True
                if not view.shared or view.rests(now):
                    continue
                view.at_rest = False  # another thread called it meanwhile
            self._active.append(view)
            view.advance(now)
            active[view.id] = view
        return active
