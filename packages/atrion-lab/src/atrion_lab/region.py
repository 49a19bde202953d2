"""The largest box of good settings in a grid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

__all__ = ["Region", "largest_box"]


@final
@dataclass(frozen=True)
class Region:
    """A box of the grid in which every setting is good.

    Attributes:
        bounds: Lowest and highest value of each axis.
        settings: Settings of the grid inside.
        good: Settings of the grid that are good, inside or not.
    """

    bounds: dict[str, tuple[float, float]]
    settings: int
    good: int

    def holds(self, **values: float) -> bool:
        """Whether the box holds these values of its axes."""
        return all(self.bounds[name][0] <= value <= self.bounds[name][1] for name, value in values.items())

    def to_dict(self) -> dict[str, Any]:
        """The box as JSON takes it."""
        return {
            "bounds": {k: list(v) for k, v in self.bounds.items()},
            "settings": self.settings,
            "good": self.good,
        }


def _longest_run(row: NDArray[np.bool_]) -> tuple[int, int]:
    """Start and length of the longest run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], row.view(np.int8), [0]))))
    if len(edges) == 0:
        return 0, 0
    starts, stops = edges[::2], edges[1::2]
    best = int(np.argmax(stops - starts))
    return int(starts[best]), int(stops[best] - starts[best])


def largest_box(good: NDArray[np.bool_], axes: dict[str, NDArray[np.float64]]) -> Region | None:
    """The box with the most settings, all ``good`` (one dimension for each axis, three); None without any."""
    best, found = 0, None
    for a in range(good.shape[0]):
        plane = np.ones(good.shape[1:], dtype=bool)
        for b in range(a, good.shape[0]):
            plane &= good[b]
            most = int(plane.sum()) * (b - a + 1)
            if most <= best:
                continue
            for c in range(good.shape[1]):
                line = np.ones(good.shape[2], dtype=bool)
                for d in range(c, good.shape[1]):
                    line &= plane[d]
                    start, length = _longest_run(line)
                    size = (b - a + 1) * (d - c + 1) * length
                    if size > best:
                        best, found = size, ((a, b), (c, d), (start, start + length - 1))
    if found is None:
        return None
    bounds = {
        name: (float(axis[low]), float(axis[high]))
        for (name, axis), (low, high) in zip(axes.items(), found, strict=True)
    }
    return Region(bounds, best, int(good.sum()))
