"""Published experiments drawn: a panel for each experiment and measure, a line for each controller over its cases."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from atrion.lab.figure import GRID, INK, new_figure, save
from atrion.lab.measures import NEVER

__all__ = ["plot"]

ATRION = "#d1495b"
OTHERS = ("#1f5fa8", "#5aa469", "#e9a23b", "#7a4fa3", "#8b949e")


def plot(rows: Sequence[dict[str, Any]], target: Path) -> None:
    """Write the panels; the dashed line is what no control can beat.

    Raises:
        AtrionError: the file cannot be written.
        MissingExtraError: matplotlib is not installed.
    """
    panels: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        panels.setdefault((row["experiment"], row["measure"]), []).append(row)
    figure = new_figure(8.5, 2.4 * len(panels))
    for axes, ((name, measure), cases) in zip(
        figure.subplots(len(panels), 1, squeeze=False)[:, 0], panels.items(), strict=True
    ):
        places = range(len(cases))
        for place, controller in enumerate(cases[0]["values"]):
            colour = ATRION if controller == "atrion" else OTHERS[(place - 1) % len(OTHERS)]
            means = [_shown(case["values"][controller]) for case in cases]
            axes.plot(places, means, "o-", color=colour, linewidth=1.0, markersize=4, label=controller)
        optimum = [float("nan") if case["optimum"] is None else case["optimum"] for case in cases]
        axes.plot(places, optimum, "--", color=INK, linewidth=0.8, label="optimum")
        axes.set_xticks(places, [case["scenario"].removeprefix(f"{name}-") for case in cases])
        axes.set_title(f"{name}: {measure}", loc="left")
        axes.grid(axis="y", color=GRID, linewidth=0.5)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(fontsize=7, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    save(figure, target)


def _shown(value: tuple[float, float, float] | None) -> float:
    """A gap where there is no value, or what never comes."""
    return float("nan") if value is None or value[0] >= NEVER else value[0]
