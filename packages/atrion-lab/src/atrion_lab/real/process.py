"""Shapes of ``atrion lab real`` whose bottleneck is the process itself: what it can do is measured, then exceeded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from atrion_lab.demo.play import measure, play
from atrion_lab.demo.result import summary, trouble
from atrion_lab.demo.services import SHAPES
from atrion_lab.demo.view import QuietView, Scene
from atrion_lab.scenarios.real import Bound

__all__ = ["PROCESS", "ProcessShape", "possible"]

MEASURE = 3.0
"""Seconds in which the capacity is measured."""
RUN = 20.0
"""Seconds of a run: calm, overload and recovery."""
NAMES = {
    "goodput_ratio": "goodput / possible",
    "critical_success": "critical success",
    "p99_seconds": "p99 of admitted, s",
    "false_reject_ratio": "rejected in calm",
    "recovery_success": "success afterwards",
}
"""Measures of a run, as the table calls them."""
BOUNDS: Mapping[str, Bound] = {
    "goodput / possible": ("≥", 0.9),
    "critical success": ("≥", 0.95),
    "rejected in calm": ("≤", 0.0),
}


def possible(capacity: float, overload: float, empty: float) -> float:
    """The share of its capacity that a process can serve at so many times of it, if what it refuses is not free.

    ``capacity`` and ``empty`` are the answers a second that it gives to nothing but work, and to requests without any:
    a refusal costs at least as much as an empty answer.
    """
    if not capacity < empty:
        return 1.0
    return min(max((1.0 - overload * capacity / empty) / (1.0 - capacity / empty), 0.0), 1.0)


@dataclass(frozen=True, slots=True)
class ProcessShape:
    """Services, by the demo's shapes that they have, each at several multiples of what it can do."""

    shapes: Mapping[str, str]
    overloads: tuple[float, ...] = (3.0, 6.0)

    def bound(self, name: str) -> Bound | None:
        """What a measure is held to."""
        return BOUNDS.get(name.rpartition(": ")[2])

    def played(
        self, seed: int, protected: bool, tell: Callable[[float], None]
    ) -> tuple[dict[str, float], list[str]]:
        """The measures of every run, and what is to be said of the machine; ``tell`` hears the share that is done.

        Raises:
            AtrionError: a process did not start, or ended early.
        """
        found: dict[str, float] = {}
        notes: list[str] = []
        view = QuietView()
        done = 0
        empty = measure(view, "empty", 1, MEASURE, seed)
        found["empty answers, 1/s"] = round(empty, 1)
        for label, shape in self.shapes.items():
            capacity = measure(view, shape, 1, MEASURE, seed)
            found[f"{label}capacity, 1/s"] = round(capacity, 1)
            for overload in self.overloads:
                scene = Scene(shape, capacity, overload, RUN)
                provider = "memory:" if protected else None
                phases, service = play(view, scene, shape, 1, provider, RUN, seed)
                title = f"{label}{overload:g}x"
                measured = summary(phases, capacity)
                if SHAPES[shape].computes:
                    measured["goodput_ratio"] /= possible(capacity, overload, empty)
                found |= {f"{title}: {name}": measured[key] for key, name in NAMES.items()}
                note = trouble(title, phases["overload"], service, overload * capacity)
                notes += [note] if note else []
                done += 1
                tell(done / len(self.shapes) / len(self.overloads))
        return found, notes


PROCESS: dict[str, ProcessShape] = {
    "cpu-async": ProcessShape({"": "cpu"}),
    "cpu-threads": ProcessShape({"compute ": "threads-compute", "hold ": "threads-hold"}),
}
"""By name; a simulation has no such process."""
