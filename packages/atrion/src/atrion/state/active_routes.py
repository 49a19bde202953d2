"""The routes that a pulse has to visit: all that are not at rest."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Protocol

from atrion.state.port import NodeRow
from atrion.state.published_state import PublishedState

__all__ = ["ActiveRoutes", "RouteView"]


class RouteView(Protocol):
    """A route, as the manager uses it."""

    at_rest: bool
    """Set while the pulse passes over the route. When the route then does anything but rest, its owner calls
    :meth:`ActiveRoutes.activate`, from any thread."""

    @property
    def id(self) -> str:
        """Route id."""
        ...

    @property
    def shared(self) -> bool:
        """Whether its scars are shared."""
        ...

    def advance(self, now: float) -> object:
        """Advance the law if a tick is due at ``now`` seconds."""
        ...

    def rests(self, now: float) -> bool:
        """Whether the next tick would only decay what was learned, which can be caught up with later."""
        ...

    def to_row(self) -> NodeRow:
        """This node's opinion of it."""
        ...

    def needs_publish(self, published: PublishedState) -> bool:
        """Whether it differs from its published state by more than decay."""
        ...

    def apply_cluster_scar(self, scar: float, evidence: float) -> None:
        """Take the cluster's opinion of it, after it has been advanced."""
        ...


class ActiveRoutes:
    """The routes of an engine that are not at rest. Requests add routes from any thread; a pulse reads them.

    Args:
        routes: All routes by id; only read.
    """

    def __init__(self, routes: Mapping[str, RouteView]) -> None:
        self._routes = routes
        self._active: deque[RouteView] = deque()
        self._names: list[str] = []
        self._stale = True

    def add(self, view: RouteView) -> None:
        """Add a new route."""
        self.activate(view)
        self._stale = True

    def changed(self) -> None:
        """Note that the settings of routes, and so which are shared, may have changed."""
        self._stale = True

    def activate(self, view: RouteView) -> None:
        """Let the pulse visit a route."""
        view.at_rest = False
        self._active.append(view)

    def activate_all(self) -> None:
        """Visit every route in the next pulse."""
        for view in list(self._routes.values()):
            if view.at_rest:
                self.activate(view)

    def find(self, route_id: str) -> RouteView | None:
        """The route of an id, if it is shared."""
        view = self._routes.get(route_id)
        return view if view is not None and view.shared else None

    def names(self) -> list[str]:
        """The ids of the shared routes; the same list object as long as they do not change."""
        if self._stale:
            self._stale = False  # first, so that what changes meanwhile is seen the next time
            self._names = [view.id for view in list(self._routes.values()) if view.shared]
        return self._names

    def advance(self, now: float, is_published: Callable[[RouteView], bool]) -> dict[str, RouteView]:
        """Advance the routes that are not at rest, and return those of them that are shared.

        A route comes to rest when only decay is due and its state, if it is shared, ``is_published``.
        """
        active = {}
        for _ in range(len(self._active)):
            view = self._active.popleft()
            if self._routes.get(view.id) is not view:
                continue  # evicted
            if view.rests(now) and (not view.shared or is_published(view)):
                view.at_rest = True
                if view.rests(now):
                    continue
                view.at_rest = False  # another thread called it meanwhile
            self._active.append(view)
            view.advance(now)
            if view.shared:
                active[view.id] = view
        return active
