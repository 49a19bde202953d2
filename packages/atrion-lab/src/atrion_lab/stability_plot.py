"""The stability map as heat maps: classes for four μ, and what they cost at the preset's own μ."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from atrion_lab.figure import new_figure, save
from atrion_lab.stability import CLASSES, PRESETS, StabilityMap

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot"]

COLOURS = ("#4c9f70", "#e3b23c", "#5c6bc0", "#c8553d")
"""Stable, oscillating, deadlock, chaotic: apart in brightness too, for those who see few colours."""
MEASURES = (
    ("goodput", "goodput in the overload / capacity", "viridis", 0.0, 1.0),
    ("waste", "share of an outage's calls sent into it", "magma_r", 0.0, 1.0),
    ("comeback", "seconds until full service after it", "magma_r", 0.0, 30.0),
    ("swing", "standard deviation of R in the overload (Ω)", "magma_r", 0.0, 50.0),
)


def _edges(axis: Any) -> Any:
    """Borders of the cells around geometric values."""
    half = np.sqrt(axis[1] / axis[0])
    return np.concatenate(([axis[0] / half], axis * half))


def _slices(count: int, own: int) -> list[int]:
    """Four of ``count`` values of μ, spread out, the preset's own among them."""
    spread = [0, count // 3, 2 * count // 3, count - 1]
    nearest = min(range(4), key=lambda i: abs(spread[i] - own))
    spread[nearest] = own
    return spread


def _frame(axes: Axes, result: StabilityMap, title: str, own: bool) -> None:
    config = PRESETS[result.preset]()
    axes.set(xscale="log", yscale="log", title=title, xlabel="σ (Ω)", ylabel="λ (1/s)")
    if own:
        axes.plot(config.scar_factor, config.decay_rate, "x", color="white", markersize=11, markeredgewidth=4)
        axes.plot(config.scar_factor, config.decay_rate, "x", color="black", markersize=9, markeredgewidth=2)
    if result.region is not None and own:
        (bottom, top), (left, right) = (result.region.bounds[name] for name in ("decay_rate", "scar_factor"))
        xs, ys = [left, right, right, left, left], [bottom, bottom, top, top, bottom]
        axes.plot(xs, ys, color="white", linewidth=3.5)
        axes.plot(xs, ys, color="black", linewidth=1.5, linestyle="--")


def plot(result: StabilityMap, target: Path) -> None:
    """Write the heat maps to ``target``; the cross is the preset, the dashes are the recommended box.

    Raises:
        AtrionError: matplotlib is missing, or the file cannot be written.
    """
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import BoundaryNorm, ListedColormap

    figure = new_figure(15.0, 7.2)
    grid: Any = figure.subplots(2, 4, sharex=True, sharey=True)
    x, y = _edges(result.axes["scar_factor"]), _edges(result.axes["decay_rate"])
    dampings = result.axes["damping"]
    own = result.nearest(PRESETS[result.preset]())[1]
    slices = _slices(len(dampings), own)
    norm = BoundaryNorm(np.arange(len(CLASSES) + 1) - 0.5, len(CLASSES))
    classes = ScalarMappable(norm, ListedColormap(COLOURS))
    for axes, j in zip(grid[0], slices, strict=True):
        axes.pcolormesh(x, y, result.classes[:, j], cmap=classes.cmap, norm=norm, rasterized=True)
        _frame(axes, result, f"μ = {dampings[j]:.3g} Ω·s", j == own)
    bar = figure.colorbar(classes, ax=grid[0].tolist(), ticks=range(len(CLASSES)), pad=0.01)
    bar.set_ticklabels(CLASSES)
    for axes, (name, title, colours, low, high) in zip(grid[1], MEASURES, strict=True):
        values = getattr(result, name)[:, own]
        mesh = axes.pcolormesh(x, y, values, cmap=colours, vmin=low, vmax=high, rasterized=True)
        _frame(axes, result, title, True)
        figure.colorbar(mesh, ax=axes, pad=0.02)
    figure.suptitle(
        f"Stability of the {result.preset} constants, μ = {dampings[own]:.3g} Ω·s below; "
        "cross: the preset, dashes: recommended"
    )
    save(figure, target)
