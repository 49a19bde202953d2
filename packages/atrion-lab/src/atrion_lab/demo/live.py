"""The demo's live view, drawn with rich: at most 22 lines, to fit a small terminal."""

from __future__ import annotations

import math

from rich.console import Group, RenderableType
from rich.text import Text

from atrion_lab.demo.load import CALM, PHASES, REPORT
from atrion_lab.demo.services import MIX
from atrion_lab.demo.view import Scene

__all__ = ["picture"]

WIDEST = 110
"""Columns that are used at most."""
SPARKS = "▁▂▃▄▅▆▇█"
MOST_OHMS = 120.0
"""Ohms at which a bar is full; the highest voltage is 102."""
MOST_ROUTES = 7
"""Routes that are drawn at most."""
LONG_QUEUE = 1000.0
"""Requests at which the bar of an unprotected service is full."""


def picture(scene: Scene, columns: int, gone: float, length: float) -> RenderableType:
    """The whole view, after ``gone`` of about ``length`` seconds."""
    width = min(columns - 1, WIDEST)
    clock = Text(f"{gone:.0f} s of about {length:.0f} s", "dim")
    head = _spread(Text(scene.title, "bold cyan"), clock, width)
    if not scene.overload:
        return Group(head, Text(), Text(f"{'answers':<10}{scene.total('good'):6.0f}/s"))
    return Group(
        head,
        _phases(scene, width),
        Text(),
        _meter("in time", scene.total("work"), scene.capacity, width),
        _spark(scene, width),
        Text(),
        *_tiers(scene, width),
        Text(),
        *_routes(scene, width),
    )


def _spread(left: Text, right: Text, width: int) -> Text:
    left.append(" " * max(width - left.cell_len - right.cell_len, 1))
    return left.append_text(right)


def _bar(share: float, width: int) -> str:
    """A bar of eighths of a cell."""
    eighths = round(min(max(share, 0.0), 1.0) * width * 8)
    full, rest = divmod(eighths, 8)
    return ("█" * full + ("▏▎▍▌▋▊▉"[rest - 1] if rest else "")).ljust(width)


def _phases(scene: Scene, width: int) -> Text:
    """The progress of the run through calm, overload and recovery."""
    text = Text()
    room = width - sum(len(name) + 4 for name in PHASES)
    reached = True
    for name, share in PHASES.items():
        now = name == scene.phase
        cells = int(room * share)
        done = (
            cells
            if reached and not now
            else round(cells * min(scene.at / max(scene.length, 1e-3), 1.0))
            if now
            else 0
        )
        text.append(f"{name} ", style="bold" if now else "dim")
        text.append("━" * done, style=_phase_style(name))
        text.append("─" * (cells - done) + "   ", style="dim")
        reached = reached and not now
    return text


def _phase_style(phase: str) -> str:
    return "yellow" if phase == "overload" else "green"


def _meter(name: str, rate: float, capacity: float, width: int) -> Text:
    """A rate against the capacity, which stands at the bar's end."""
    share = rate / capacity
    style = "green" if share > 0.8 or rate > 0.9 * CALM * capacity else "red"
    note = f" {rate:4.0f}/s of {capacity:.0f} ({share:4.0%})"
    text = Text(f"{name:<10}")
    text.append(_bar(share, width - 10 - len(note) - 1), style=style)
    return text.append("▏", style="dim").append(note)


def _spark(scene: Scene, width: int) -> Text:
    """The answers in time since the run began, one mark for each quarter of a second or for several."""
    text = Text("so far".ljust(10))
    step = max(math.ceil(scene.whole / REPORT / (width - 10)), 1)
    for index in range(0, len(scene.sparks), step):
        phase, _, rate = scene.sparks[index]
        level = min(int(rate / scene.capacity * len(SPARKS)), len(SPARKS) - 1)
        text.append(SPARKS[level], style=_phase_style(phase))
    return text


def _tiers(scene: Scene, width: int) -> list[Text]:
    """Requests sent, answered in time, shed and late, by tier."""
    bar = width - 44
    lines = [Text(f"{'tier':<10}{'asked/s':>8}{'in time':>8}{'shed':>8}{'late':>8}", style="dim")]
    for tier in MIX:
        rate = scene.rates.get(tier, {"sent": 0.0, "good": 0.0, "shed": 0.0, "late": 0.0})
        line = Text(
            f"{tier:<10}{rate['sent']:>8.0f}{rate['good']:>8.0f}{rate['shed']:>8.0f}{rate['late']:>8.0f}  "
        )
        whole = max(rate["good"] + rate["shed"] + rate["late"], 1e-9)
        for name, mark, style in (("good", "█", "green"), ("late", "█", "red"), ("shed", "░", "dim")):
            line.append(mark * round(bar * rate[name] / whole), style=style)
        line.truncate(width)
        lines.append(line)
    return lines


def _routes(scene: Scene, width: int) -> list[Text]:
    """Bars of resistance, or the queue of an unprotected service."""
    found = scene.routes()
    if not found:
        inside = scene.inside()
        return [
            Text("no admission control: every request waits in the service's queue", style="dim"),
            Text(f"{'in service':<18}{inside:>6}  ").append(
                _bar(inside / LONG_QUEUE, width - 26), style="red"
            ),
            Text(),
        ]
    lines = [Text(f"{'route':<18}{'in flight':>10}{'ohms':>8}", style="dim")]
    for route, (ohms, calls) in list(found.items())[:MOST_ROUTES]:
        line = Text(f"{route:<18}{calls:>10}{ohms:>8.1f}  ")
        lines.append(line.append(_bar(ohms / MOST_OHMS, width - 38), style="magenta"))
    return lines + [Text() for _ in range(2 - len(found))]
