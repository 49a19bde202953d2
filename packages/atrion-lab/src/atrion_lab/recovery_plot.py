"""The map of recovery as heat maps: what theory predicts, then a panel for each controller."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from atrion_lab.figure import new_figure, save
from atrion_lab.heat import Grid, heat
from atrion_lab.recovery import OBSERVED, cell_of, clients_of

__all__ = ["plot"]

LEAST = 0.1
"""Seconds that have the lightest colour, as anything shorter."""
NEVER = 2.0 * OBSERVED
"""What stands for a service that is not back: beyond the scale."""


def plot(found: Sequence[dict[str, Any]], target: Path) -> None:
    """Write the heat maps; the darkest red has not come back.

    Raises:
        AtrionError: the file cannot be written.
        MissingExtraError: matplotlib is not installed.
    """
    import matplotlib
    from matplotlib.colors import LogNorm

    loads = sorted({row["load"] for row in found})
    keys = list(
        dict.fromkeys((row["trigger"], row["seconds"], clients_of(row)) for row in sorted(found, key=_order))
    )
    rows = [f"{trigger} {seconds:g} s, {clients}" for trigger, seconds, clients in keys]
    groups = [at for at in range(1, len(keys)) if keys[at][:2] != keys[at - 1][:2]]
    names = list(dict.fromkeys(row["controller"] for row in found))
    figure = new_figure(1.6 * (len(names) + 1) + 3.0, 0.13 * len(rows) + 1.0)
    panels: Any = figure.subplots(1, len(names) + 1, sharey=True)
    colours = matplotlib.colormaps["YlGnBu"].with_extremes(over="#8b1a1a")
    norm = LogNorm(LEAST, OBSERVED)
    mesh: Any = None
    for axes, name in zip(panels, ("", *names), strict=True):
        measure = "worst_seconds" if name else "predicted_seconds"
        cells = {
            (row["trigger"], row["seconds"], clients_of(row), row["load"]): row[measure]
            for row in found
            if row["controller"] == (name or names[0])
        }
        values = [[_shown(cells[(*key, load)]) for load in loads] for key in keys]
        title = name or "theory, no control"
        mesh = heat(axes, Grid(rows, [f"{load:g}" for load in loads], title, groups), values, norm, colours)
        axes.set_xlabel("load / capacity", fontsize=8)
    bar = figure.colorbar(mesh, ax=panels.tolist(), pad=0.01, extend="max")
    bar.set_label(f"seconds until it is back; red: not within {OBSERVED:g} s", fontsize=8)
    save(figure, target)


def _order(row: dict[str, Any]) -> tuple[Any, ...]:
    cell = cell_of(row)
    return cell.trigger, cell.seconds, cell.retries, cell.backoff, cell.budget or 0.0


def _shown(seconds: float | None) -> float:
    """On a logarithmic scale, which has no zero."""
    return NEVER if seconds is None or seconds > OBSERVED else max(seconds, LEAST)
