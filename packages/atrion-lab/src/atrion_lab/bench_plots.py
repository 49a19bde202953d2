"""Plots of the targets and of comparisons."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from atrion_lab.compare import Standing
from atrion_lab.figure import GRID, INK, new_figure, save
from atrion_lab.scenario import Scenario

__all__ = ["plot_rows", "plot_standings"]

MET, MISSED, OTHER = "#5aa469", "#d1495b", "#8cb8e8"


def plot_rows(rows: Sequence[dict[str, Any]], target: Path) -> None:
    """Each row's value and interval against its target, in its own scale; right of the line is better.

    Raises:
        AtrionError: the file cannot be written.
        MissingExtraError: matplotlib is not installed.
    """
    figure = new_figure(9.0, 0.21 * len(rows) + 0.8)
    axes = figure.subplots()
    for place, row in enumerate(rows):
        sign = -1.0 if row["sense"] == "at most" else 1.0
        scale = max(abs(row["target"]), 0.02)
        margin, low, high = (
            max(-1.0, min(1.0, sign * (row[name] - row["target"]) / scale))
            for name in ("value", "low", "high")
        )
        colour = MET if row["met"] else MISSED
        axes.plot([low, high], [place, place], color=colour, linewidth=1.0)
        axes.plot([margin], [place], "o", color=colour, markersize=4)
        comparison = "≤" if sign < 0.0 else "≥"
        axes.text(1.05, place, f"{row['value']:.3f} {comparison} {row['target']:g}", va="center", fontsize=7)
    axes.axvline(0.0, color=INK, linewidth=0.8)
    axes.set_yticks(range(len(rows)), [f"{row['measure']} · {row['scenario']}" for row in rows], fontsize=7)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlim(-1.02, 1.02)
    axes.set_xticks(
        [-1.0, 0.0, 1.0], ["a target's worth\nor more short", "target", "a target's worth\nbeyond"]
    )
    axes.grid(axis="y", color=GRID, linewidth=0.4)
    axes.spines[["top", "right", "left"]].set_visible(False)
    save(figure, target)


def plot_standings(
    scenario: Scenario, standings: Sequence[Standing], measures: Sequence[str], target: Path
) -> None:
    """Bars of a few measures for every controller; latencies beyond two deadlines leave the picture.

    Raises:
        AtrionError: the file cannot be written.
        MissingExtraError: matplotlib is not installed.
    """
    figure = new_figure(8.5, 0.24 * len(standings) + 0.9)
    panels = figure.subplots(1, len(measures), sharey=True, squeeze=False)[0]
    for axes, measure in zip(panels, measures, strict=True):
        for place, standing in enumerate(standings):
            mean, low, high = standing.values[measure]
            colour = MET if standing.controller.startswith("atrion") else OTHER
            axes.barh(place, mean, color=colour, height=0.7)
            axes.plot([low, high], [place, place], color=INK, linewidth=0.8)
        axes.set_title(measure, loc="left")
        if measure.endswith(", s"):
            axes.set_xlim(0.0, min(axes.get_xlim()[1], 2.0 * scenario.traffic[0].deadline))
        axes.grid(axis="x", color=GRID, linewidth=0.5)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_yticks(range(len(standings)), [standing.controller for standing in standings])
    panels[0].set_ylim(len(standings) - 0.5, -0.5)
    figure.suptitle(f"{scenario.name}: {scenario.about}", fontsize=10)
    save(figure, target)
