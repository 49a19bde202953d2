"""The map of harm as heat maps: a panel for each controller and measure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from atrion_lab.figure import INK, new_figure, save
from atrion_lab.harm import IDLE, WORK, missed
from atrion_lab.heat import Grid, heat

__all__ = ["plot"]

LEAST = 1e-4
"""Share of needless refusals from which on a cell has a colour: a tenth of the bound."""


def _grid(rows: Sequence[dict[str, Any]]) -> tuple[Grid, list[tuple[Any, ...]], list[float]]:
    """The frame of each panel, the (workers, slow, spread) of its rows and the loads of its columns."""
    keys = sorted({(row["workers"], row["slow"], row["spread"]) for row in rows})
    loads = sorted({row["load"] for row in rows})
    names = [f"workers {workers}, slow {slow:g}, spread {spread:g}" for workers, slow, spread in keys]
    groups = [at for at in range(1, len(keys)) if keys[at][0] != keys[at - 1][0]]
    return Grid(names, [f"{load:g}" for load in loads], "", groups), keys, loads


def plot(found: Sequence[dict[str, Any]], target: Path) -> None:
    """Write the heat maps; a cross is a cell that misses its bound, the line stands at capacity.

    Raises:
        AtrionError: the file cannot be written.
        MissingExtraError: matplotlib is not installed.
    """
    from matplotlib.colors import LogNorm, Normalize

    controllers = list(dict.fromkeys(row["controller"] for row in found))
    frame, keys, loads = _grid(found)
    figure = new_figure(2.6 * len(controllers) + 3.0, 2 * (0.11 * len(keys) + 0.9))
    panels: Any = figure.subplots(2, len(controllers), sharex=True, sharey=True, squeeze=False)
    missing = [id(row) for row in missed(found)]
    measures = (
        ("idle_rejects", "refused beside a free worker", LogNorm(LEAST, 1.0), "inferno_r"),
        ("work_over_possible", "work / possible", Normalize(0.0, 1.0), "viridis"),
    )
    for line, (measure, title, norm, colours) in zip(panels, measures, strict=True):
        mesh: Any = None
        for axes, name in zip(line, controllers, strict=True):
            cells = {
                (row["workers"], row["slow"], row["spread"], row["load"]): row
                for row in found
                if row["controller"] == name
            }
            # A logarithm has no zero: what is below its scale has the scale's lightest colour.
            values = [[max(cells[(*key, load)][measure], norm.vmin or 0.0) for load in loads] for key in keys]
            here = Grid(frame.rows, frame.columns, f"{name}: {title}", frame.groups)
            mesh = heat(axes, here, values, norm, colours)
            axes.axvline(sum(load < 1.0 for load in loads), color=INK, linewidth=0.8, linestyle="--")
            crosses = [
                (x + 0.5, y + 0.5)
                for y, key in enumerate(keys)
                for x, load in enumerate(loads)
                if id(cells[(*key, load)]) in missing and (load < 1.0) == (measure == "idle_rejects")
            ]
            for colour, size in (("white", 5.0), ("black", 3.5)):
                axes.plot(
                    *zip(*crosses, strict=True), "x", color=colour, markersize=size
                ) if crosses else None
        bar = figure.colorbar(mesh, ax=line.tolist(), pad=0.01)
        bar.ax.axhline(IDLE if measure == "idle_rejects" else WORK, color=INK, linewidth=1.0)
    for axes in panels[1]:
        axes.set_xlabel("load / capacity", fontsize=8)
    save(figure, target)
