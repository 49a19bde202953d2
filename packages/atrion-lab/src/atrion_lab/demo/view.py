"""Progress of the demo: a live view on a terminal, one line per second elsewhere."""

from __future__ import annotations

import importlib.util
import sys
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

__all__ = ["LiveView", "PlainView", "QuietView", "Scene", "View", "view_for"]

WINDOW = 5
"""Lines of the load generator over which rates are computed: slightly more than a second."""


@dataclass(slots=True)
class Scene:
    """The state of one run of ``whole`` seconds, for the views. Rates per second, times in seconds."""

    title: str
    capacity: float = 0.0
    overload: float = 0.0
    whole: float = 0.0
    phase: str = ""
    at: float = 0.0
    length: float = 0.0
    rates: dict[str, dict[str, float]] = field(default_factory=dict)
    services: dict[str, dict[str, Any]] = field(default_factory=dict)
    sparks: list[tuple[str, float, float]] = field(default_factory=list)
    _recent: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=WINDOW))

    def take(self, name: str, row: dict[str, Any]) -> bool:
        """Process a line of a process; returns whether it is the load generator's."""
        if name != "load":
            self.services[name] = row
            return False
        if row["phase"] != self.phase:
            self.phase = row["phase"]
            self._recent.clear()
            self._recent.append({"at": 0.0, "tiers": {}})
        before = self._recent[0]
        self._recent.append(row)
        self.at, self.length = row["at"], row["seconds"]
        span = max(row["at"] - before["at"], 1e-3)
        self.rates = {
            tier: {
                name: (count - before["tiers"].get(tier, {}).get(name, 0)) / span
                for name, count in counts.items()
            }
            for tier, counts in row["tiers"].items()
        }
        self.sparks.append((self.phase, self.at, self.total("work")))
        return True

    def total(self, what: str) -> float:
        """A rate over all tiers."""
        return sum(rate[what] for rate in self.rates.values())

    def routes(self) -> dict[str, tuple[float, int]]:
        """Every route's ohms, the mean of the workers that have it, and its calls in flight."""
        found: dict[str, list[list[float]]] = {}
        for service in self.services.values():
            for route, pair in service.get("routes", {}).items():
                found.setdefault(route, []).append(pair)
        return {
            route: (sum(ohms for ohms, _ in pairs) / len(pairs), int(sum(calls for _, calls in pairs)))
            for route, pairs in found.items()
        }

    def inside(self) -> int:
        """Requests that the service works on, or that wait in it."""
        return sum(int(service.get("inside", 0)) for service in self.services.values())


class QuietView:
    """Shows nothing, for ``--json``."""

    def say(self, text: str) -> None:
        """A line that stays."""

    def show(self, scene: Scene) -> None:
        """The state of this instant."""

    def close(self) -> None:
        """Leave the terminal as it was."""


class PlainView(QuietView):
    """A line a second, and one as each phase begins."""

    def __init__(self) -> None:
        self._shown = 0.0
        self._heading = ""
        self._phase = ""

    def say(self, text: str) -> None:
        """A line that stays."""
        print(text, flush=True)

    def show(self, scene: Scene) -> None:
        """The state of this instant."""
        now = time.monotonic()
        if now - self._shown < 1.0 and scene.phase == self._phase:
            return
        self._shown, self._phase = now, scene.phase
        if scene.title != self._heading:
            self._heading = scene.title
            print(f"\n{scene.title}", flush=True)
        if not scene.overload:
            print(f"  {scene.total('good'):6.0f} answers/s", flush=True)
            return
        ohms = " ".join(f"{route} {ohms:.0f} Ω" for route, (ohms, _) in scene.routes().items())
        numbers = "".join(
            f"  {name} {scene.total(what):5.0f}/s"
            for name, what in (("asked", "sent"), ("in time", "good"), ("late", "late"), ("shed", "shed"))
        )
        print(f"  {scene.phase:<8}{numbers}  {ohms}".rstrip(), flush=True)


class LiveView(QuietView):
    """A live view, updated four times a second; needs rich."""

    def __init__(self, length: float) -> None:
        from rich.console import Console
        from rich.live import Live

        from atrion_lab.demo.live import picture

        self._draw = picture
        self._began = time.monotonic()
        self._length = length
        self._console = Console(highlight=False)
        self._live = Live(console=self._console, auto_refresh=False, transient=True)
        self._live.start()

    def say(self, text: str) -> None:
        """A line that stays, above the picture."""
        self._console.print(text, markup=False, soft_wrap=True)

    def show(self, scene: Scene) -> None:
        """The state of this instant."""
        gone = time.monotonic() - self._began
        self._live.update(self._draw(scene, self._console.width, gone, self._length), refresh=True)

    def close(self) -> None:
        """Leave the terminal as it was."""
        self._live.stop()


View = QuietView


def view_for(quiet: bool, length: float) -> View:
    """The view that fits standard output; ``length`` is about how many seconds the demo takes."""
    if quiet:
        return QuietView()
    if sys.stdout.isatty() and importlib.util.find_spec("rich") is not None:
        return LiveView(length)
    return PlainView()
