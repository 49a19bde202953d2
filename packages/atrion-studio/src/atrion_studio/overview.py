"""The overview as text, drawn with rich."""

from __future__ import annotations

import time
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from atrion import Tier
from atrion.physics.voltage import BAND_WIDTH, band

__all__ = ["overview"]

SCALE = 110.0
"""Volts at the end of the scale."""
WIDE, WIDEST = 100, 160
"""Columns from which on the bands have their full length, and that are used at most."""
CELLS, FEW_CELLS = 22, 11


def _state(row: dict[str, Any]) -> tuple[str, str, str]:
    """Severity as a sort key, mark with word, and style."""
    broken = row["mode"] == "circuit_breaker"
    sheds = row["rates"]["shed"] > 0 or row["since"] is not None
    if (broken or sheds) and not row["enforced"]:
        return "2", "◇ would refuse", "yellow"
    if broken:
        return "4", "✕ breaker open", "red"
    if sheds:
        return "3", "▲ refusing", "yellow"
    if row["refused"] or row["refused_in_part"]:
        return "1", "△ raised", "yellow"
    return "0", "● flowing", "green"


def _bands(row: dict[str, Any], cells: int) -> Text:
    """The tiers' bands on a scale of volts, those below the resistance struck out, and a needle."""
    ohms = SCALE if row["mode"] == "circuit_breaker" else row["resistance"]
    text = Text()
    needle = min(int(row["resistance"] / SCALE * cells), cells - 1)
    for cell in range(cells):
        volts = (cell + 0.5) * SCALE / cells
        tier = next((tier for tier in Tier if band(tier) <= volts < band(tier) + BAND_WIDTH), None)
        letter = "·" if tier is None else tier.name[0]
        style = "dim" if tier is None else "red strike" if volts < ohms else "green"
        text.append("┃" if cell == needle else letter, style="bold" if cell == needle else style)
    return text


def overview(frame: dict[str, Any], width: int, height: int | None) -> RenderableType:
    """A frame as a table, the worst route first, as many as ``height`` lines hold."""
    routes = frame["routes"]
    states = {route: _state(row) for route, row in routes.items()}
    order = sorted(
        routes,
        key=lambda route: (states[route][0], routes[route]["rates"]["shed"], routes[route]["resistance"]),
        reverse=True,
    )
    refusing = sum(state[0] in "234" for state in states.values())
    head = Text()
    head.append(
        "every request flows" if not refusing else f"{refusing} of {len(routes)} routes refuse requests",
        style="bold green" if not refusing else "bold yellow",
    )
    cluster = frame["cluster"]
    nodes = len(cluster["nodes"])
    store = "" if cluster["healthy"] else ", the store does not answer"
    head.append(
        f"   {sum(row['rates']['admitted'] for row in routes.values()):.0f}/s admitted, "
        f"{sum(row['rates']['shed'] for row in routes.values()):.0f}/s refused, "
        f"{nodes} node{'' if nodes == 1 else 's'}{store}   {time.strftime('%H:%M:%S', time.localtime(frame['at']))}",
        style="dim",
    )
    cells = CELLS if width >= WIDE else FEW_CELLS
    table = Table(box=None, pad_edge=False, width=min(width, WIDEST) - 1, header_style="dim")
    table.add_column("route", ratio=3, no_wrap=True, overflow="ellipsis")
    table.add_column("state", no_wrap=True, width=14)
    table.add_column("Ω", justify="right", width=6)
    table.add_column("bands", no_wrap=True, width=cells)
    for name in ("in/s", "shed/s", "flight"):
        table.add_column(name, justify="right", no_wrap=True, min_width=6)
    room = len(order) if height is None else max(height - 6, 1)
    for route in order[:room]:
        row = routes[route]
        leases = row.get("leases", 0)  # they are among the calls in flight
        _, state, style = states[route]
        table.add_row(
            Text(route),
            Text(state, style=style),
            f"{row['resistance']:.1f}",
            _bands(row, cells),
            f"{row['rates']['admitted']:.0f}",
            Text(f"{row['rates']['shed']:.0f}", style="yellow" if row["rates"]["shed"] else "dim"),
            f"{row['in_flight']:.0f}/{row['limit']:.0f}" + (f" ({leases}L)" if leases else ""),
        )
    parts: list[RenderableType] = [head, Text(), table]
    if not order:
        parts.append(Text("no route has been asked yet", style="dim"))
    elif len(order) > room:
        parts.append(Text(f"and {len(order) - room} more", style="dim"))
    worst = routes[order[0]]["why"] if order else None
    if worst is not None:
        parts += [Text(), Text.assemble((order[0], "bold"), f": {worst}")]
    return Group(*parts)
