"""Plots of a run: traffic per tier, resistance with its parts, and modes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from atrion.physics.modes import Mode
from atrion_lab.figure import GRID, INK, new_figure, save
from atrion_lab.metrics import BIN, Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot_run"]

TIERS = ("bulk", "low", "normal", "high", "critical")
TIER_COLOURS = ("#c9d1d9", "#8cb8e8", "#4a8fd4", "#1f5fa8", "#d1495b")
PARTS = {
    "latency": "#e9a23b",
    "error": "#d1495b",
    "saturation": "#4a8fd4",
    "momentum": "#5aa469",
    "scar": "#7a4fa3",
}
MODE_COLOURS = {Mode.BOOTSTRAP: "#e9a23b", Mode.OPERATIONAL: "#5aa469", Mode.CIRCUIT_BREAKER: "#d1495b"}


def _smooth(bins: list[int], every: int) -> list[float]:
    """Rates a second, over ``every`` bins each."""
    return [sum(bins[at : at + every]) / (every * BIN) for at in range(0, len(bins) - every + 1, every)]


def _traffic(axes: Axes, run: Run, kind: str, every: int, title: str) -> None:
    rates = [_smooth(tier, every) for tier in run.series[kind]]
    at = [(index + 0.5) * every * BIN for index in range(len(rates[0]))]
    shown = [tier for tier in range(5) if any(rates[tier])]
    axes.stackplot(
        at, [rates[tier] for tier in shown], colors=[TIER_COLOURS[tier] for tier in shown], linewidth=0.0
    )
    if axes.get_ylim()[1] > 0.5 * run.capacity:
        axes.axhline(run.capacity, color=INK, linewidth=0.7, linestyle="--")
    axes.set_title(title, loc="left")
    axes.set_ylabel("1/s")


def _resistance(axes: Axes, run: Run, pod: str, route: str) -> None:
    for name, colour in PARTS.items():
        trace = run.trace(name, route, pod)
        axes.plot(
            [at for at, _ in trace], [max(ohms, 0.0) for _, ohms in trace], color=colour, lw=0.8, label=name
        )
    trace = run.trace("R", route, pod)
    axes.plot([at for at, _ in trace], [ohms for _, ohms in trace], color=INK, lw=1.2, label="R")
    axes.set_title(f"resistance of {route}", loc="left")
    axes.set_ylabel("Ω")
    axes.legend(loc="lower right", bbox_to_anchor=(1.0, 0.97), ncols=6, frameon=False, fontsize=7)


def _modes(axes: Axes, run: Run, lanes: list[tuple[str, str]]) -> None:
    for lane, (pod, route) in enumerate(lanes):
        for mode, colour in MODE_COLOURS.items():
            at = [when for when, value in run.trace("mode", route, pod) if value == float(mode)]
            axes.plot(at, [lane] * len(at), "|", color=colour, markersize=7)
    names = [route if len({pod for pod, _ in lanes}) == 1 else f"pod {pod}" for pod, route in lanes]
    axes.set_yticks(range(len(lanes)), names)
    axes.set_ylim(-0.7, len(lanes) - 0.3)
    axes.set_title("mode: green operational, red circuit breaker, yellow bootstrap", loc="left")


def plot_run(run: Run, target: Path) -> None:
    """Write the pictures of ``run`` as one file.

    Raises:
        AtrionError: the file cannot be written.
        MissingExtraError: matplotlib is not installed.
    """
    lanes = list(dict.fromkeys((pod, route) for _, pod, route, _ in run.samples))
    first = list(dict.fromkeys(route for pod, route in lanes if pod == "0"))[:3]
    heights = [1.3, 1.3, 1.3, *([1.3] * len(first)), *([0.35 + 0.1 * min(len(lanes), 8)] if lanes else [])]
    figure = new_figure(8.0, sum(heights) + 0.6)
    panels = figure.subplots(len(heights), 1, sharex=True, gridspec_kw={"height_ratios": heights})
    every = max(1, round(run.seconds / 120.0 / BIN))
    titles = {"attempts": "offered", "admitted": "admitted", "good": "answered in time"}
    for axes, (kind, title) in zip(panels, titles.items(), strict=False):
        _traffic(axes, run, kind, every, title)
    for axes, route in zip(panels[3:], first, strict=False):
        _resistance(axes, run, "0", route)
    if lanes:
        _modes(panels[-1], run, lanes[:8])
    for axes in panels:
        axes.grid(color=GRID, linewidth=0.5)
        axes.set_xlim(0.0, run.seconds)
        axes.spines[["top", "right"]].set_visible(False)
    panels[-1].set_xlabel("seconds")
    from matplotlib.patches import Patch  # matplotlib is there, or there were no figure

    handles = [Patch(color=colour, label=tier) for tier, colour in zip(TIERS, TIER_COLOURS, strict=True)]
    panels[0].legend(
        handles=handles,
        loc="lower right",
        bbox_to_anchor=(1.0, 0.97),
        ncols=5,
        frameon=False,
        fontsize=7,
    )
    figure.suptitle(f"{run.scenario} with {run.controller}, seed {run.seed} (dashed: capacity)", fontsize=10)
    save(figure, target)
