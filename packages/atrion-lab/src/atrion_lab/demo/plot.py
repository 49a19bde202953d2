"""The demo's two runs as a figure: answers in time over the whole run, and by tier in the overload."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from atrion_lab.demo.load import PHASES
from atrion_lab.demo.services import MIX
from atrion_lab.figure import GRID, INK, new_figure, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Recording", "plot_demo"]

COLOURS = ("#d1495b", "#2a9d8f")
SHADE = "#fff3d6"
BAR = 0.38


@dataclass(frozen=True, slots=True)
class Recording:
    """What is drawn of one run.

    Attributes:
        title: Its name in the legend.
        seconds: Length of the run.
        points: Seconds since its start, and the rate of answers in time over the capacity, four times a second.
        tiers: Share of the requests of each tier that were answered in time during the overload.
    """

    title: str
    seconds: float
    points: Sequence[tuple[float, float]]
    tiers: dict[str, float]


def plot_demo(recordings: Sequence[Recording], overload: float, target: Path) -> None:
    """Draw both runs.

    Raises:
        AtrionError: the file cannot be written.
        MissingExtraError: matplotlib is not installed.
    """
    figure = new_figure(9.0, 3.2)
    run, tiers = figure.subplots(1, 2, width_ratios=[3, 2])
    _draw_run(run, recordings, overload)
    _draw_tiers(tiers, recordings)
    figure.legend(*run.get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)
    save(figure, target)


def _draw_run(axes: Axes, recordings: Sequence[Recording], overload: float) -> None:
    seconds = recordings[0].seconds
    start = PHASES["calm"] * seconds
    end = start + PHASES["overload"] * seconds
    axes.axvspan(start, end, color=SHADE, linewidth=0.0)
    axes.text(
        (start + end) / 2.0,
        128.0,
        f"{overload:g} × the capacity",
        ha="center",
        va="top",
        color=INK,
        fontsize=8,
    )
    axes.axhline(100.0, color=GRID, linewidth=0.8)
    for recording, colour in zip(recordings, COLOURS, strict=True):
        at, share = zip(*recording.points, strict=True)
        axes.plot(at, [100.0 * each for each in share], color=colour, linewidth=1.6, label=recording.title)
    axes.set_title("Answers in time, % of the capacity")
    axes.set_xlabel("seconds")
    axes.set_xlim(0.0, seconds)
    axes.set_ylim(0.0, 130.0)


def _draw_tiers(axes: Axes, recordings: Sequence[Recording]) -> None:
    for index, (recording, colour) in enumerate(zip(recordings, COLOURS, strict=True)):
        places = [place + (index - 0.5) * BAR for place in range(len(MIX))]
        heights = [100.0 * recording.tiers[tier] for tier in MIX]
        axes.bar(places, heights, width=BAR, color=colour)
    axes.set_title("Requests answered in time in the overload, %")
    axes.set_xticks(range(len(MIX)), list(MIX))
    axes.set_ylim(0.0, 105.0)
