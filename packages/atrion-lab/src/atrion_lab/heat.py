"""Heat maps with a panel for each of several values, over the same rows and columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from atrion_lab.figure import INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Grid", "heat"]


@dataclass(frozen=True, slots=True)
class Grid:
    """What the rows and columns of a panel stand for; ``groups`` are the rows before which a line is drawn."""

    rows: Sequence[str]
    columns: Sequence[str]
    title: str
    groups: Sequence[int] = ()


def heat(axes: Axes, grid: Grid, values: Sequence[Sequence[float]], norm: Any, colours: Any) -> Any:
    """Draw a panel and return its mesh, for a bar of colours; a value that is no number stays white."""
    mesh = axes.pcolormesh(values, norm=norm, cmap=colours, edgecolors="white", linewidth=0.4)
    axes.set_title(grid.title, fontsize=8, loc="left")
    axes.set_xticks([at + 0.5 for at in range(len(grid.columns))], grid.columns, fontsize=7)
    axes.set_yticks([at + 0.5 for at in range(len(grid.rows))], grid.rows, fontsize=6)
    axes.set_ylim(len(grid.rows), 0)  # not inverted: panels that share the axis would turn it back
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    for at in grid.groups:
        axes.axhline(at, color=INK, linewidth=0.8)
    return mesh
