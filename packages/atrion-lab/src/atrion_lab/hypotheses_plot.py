"""The hypotheses as pictures: a breaker's states, resistance after an outage, and who gets the traffic."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from atrion.physics import PhysicsConfig
from atrion_lab.figure import INK, new_figure, save
from atrion_lab.hypotheses import Hypothesis, Trial

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot"]

BLUE, RED, GREY, GREEN = "#4a8fd4", "#d1495b", "#8c959f", "#5aa469"
WINDOW = 120.0
"""Seconds of flapping that are shown."""


def _flapping(axes: Axes, trial: Trial) -> None:
    shown = {name: [(at, v) for at, v in trace if at <= WINDOW] for name, trace in trial.traces.items()}
    at = [second for second, _ in shown["R"]]
    axes.plot(at, [ohms for _, ohms in shown["R"]], color=INK, lw=0.8, label="R")
    breaks = PhysicsConfig().base_resistance * PhysicsConfig().break_multiplier
    axes.axhline(breaks, color=RED, lw=0.8, linestyle="--", label="break point")
    lanes: tuple[tuple[str, str, str], ...] = (
        ("dead", GREY, "dependency dead"),
        ("both", BLUE, "Atrion open"),
        ("threshold", RED, "bare threshold open"),
    )
    for lane, (name, colour, label) in enumerate(lanes):
        bottom = -30.0 * (lane + 1)
        on = [value > 0.5 for _, value in shown[name]]
        axes.fill_between(at, bottom, bottom + 22.0, where=on, color=colour, lw=0.0, step="post", label=label)
    axes.set(xlabel="s", ylabel="Ω", xlim=(0.0, WINDOW), ylim=(-100.0, 320.0))
    axes.legend(loc="upper right", ncols=5, frameon=False, fontsize=7)


def _decay(axes: Axes, trial: Trial) -> None:
    for name, colour in (("with decay", BLUE), ("without decay", RED)):
        trace = trial.traces[name]
        axes.plot([at for at, _ in trace], [ohms for _, ohms in trace], color=colour, lw=1.2, label=name)
    axes.axvline(0.0, color=GREY, lw=0.8, linestyle="--")
    axes.set(xlabel="s after an outage of 30 s", ylabel="Ω")
    axes.legend(loc="upper right", frameon=False, fontsize=7)


def _routing(axes: Axes, trial: Trial) -> None:
    for name, colour in (("failing", RED), ("slow", BLUE), ("hung", GREEN), ("flapping", INK)):
        trace = trial.traces[name]
        axes.plot([at for at, _ in trace], [share for _, share in trace], color=colour, lw=1.2, label=name)
    bare = trial.traces["flapping, without scars"]
    axes.plot(
        [at for at, _ in bare], [v for _, v in bare], color=INK, lw=1.0, ls=":", label="flapping, no scars"
    )
    axes.axhline(0.1, color=RED, lw=0.8, linestyle="--")
    axes.axvspan(10.0, 40.0, color=GREY, alpha=0.15, lw=0.0)
    axes.set(xlabel="s", ylabel="share of the traffic", ylim=(0.0, 0.5))
    axes.legend(loc="upper right", ncols=5, frameon=False, fontsize=7)


DRAWN = {"flapping": _flapping, "decay": _decay, "routing": _routing}


def plot(hypotheses: Sequence[Hypothesis], seed: int, target: Path) -> None:
    """Write what one seed shows of each hypothesis to ``target``.

    Raises:
        AtrionError: matplotlib is missing, or the file cannot be written.
    """
    figure = new_figure(11.0, 2.9 * len(hypotheses))
    rows: Any = figure.subplots(len(hypotheses), 1, squeeze=False)
    for axes, hypothesis in zip(rows[:, 0], hypotheses, strict=True):
        DRAWN[hypothesis.name](axes, hypothesis.play(seed))
        axes.set_title(hypothesis.claim, loc="left")
    save(figure, target)
