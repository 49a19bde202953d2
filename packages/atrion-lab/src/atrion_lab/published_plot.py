"""Published experiments drawn: a panel for each experiment and measure, bars for each case."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from atrion_lab.figure import GRID, INK, new_figure, save
from atrion_lab.measures import NEVER

__all__ = ["plot"]

ATRION = "#d1495b"
OTHERS = ("#1f5fa8", "#5aa469", "#e9a23b", "#7a4fa3", "#8b949e")

MOST = 2.0
"""Deadlines beyond which a latency leaves the picture."""


def plot(rows: Sequence[dict[str, Any]], target: Path) -> None:
    """Write the panels; the black line is what no control can beat, and what never comes has no bar.

    Raises:
        AtrionError: the file cannot be written.
        MissingExtraError: matplotlib is not installed.
    """
    panels: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        panels.setdefault((row["experiment"], row["measure"]), []).append(row)
    figure = new_figure(8.5, 1.6 * len(panels))
    for axes, ((name, measure), cases) in zip(
        figure.subplots(len(panels), 1, squeeze=False)[:, 0], panels.items(), strict=True
    ):
        controllers = list(cases[0]["values"])
        width = 0.8 / len(controllers)
        for place, controller in enumerate(controllers):
            colour = ATRION if controller == "atrion" else OTHERS[(place - 1) % len(OTHERS)]
            at = [case - 0.4 + (place + 0.5) * width for case in range(len(cases))]
            means = [_shown(case["values"][controller]) for case in cases]
            axes.bar(at, means, 0.9 * width, color=colour, label=controller)
        for place, case in enumerate(cases):
            if case["optimum"] is not None:
                axes.hlines(case["optimum"], place - 0.4, place + 0.4, color=INK, linewidth=0.8)
        axes.set_xticks(range(len(cases)), [case["scenario"].removeprefix(f"{name}-") for case in cases])
        axes.set_title(f"{name}: {measure}", loc="left")
        if measure.endswith("/ deadline"):
            axes.set_ylim(0.0, MOST)
        axes.grid(axis="y", color=GRID, linewidth=0.5)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(fontsize=7, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    save(figure, target)


def _shown(value: tuple[float, float, float] | None) -> float:
    """A gap where there is no value, or what never comes."""
    return float("nan") if value is None or value[0] >= NEVER else value[0]
