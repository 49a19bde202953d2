"""Rows of the result, as a table for people and as JSON for programs."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from benchmarks.cases import FLATNESS, MEANINGS, MEMORY_CASE
from benchmarks.guards import PASS_THROUGH
from benchmarks.libraries import OURS

_WIDTH = 16

LEGEND = f"""\
ns        nanoseconds that the guard adds to the bare call: guarded call minus bare call, each the median of
          the calmer half of many short batches in turns. The bare call is the same empty function, unguarded,
          in the same loop; a rejection is counted likewise.
ratio     to the lightest peer of the case (any library but {OURS}); below 1.00 is lighter. A dash: no peer
          does the same. In {MEMORY_CASE} it compares bytes. {OURS} in a second build is measured in its own
          interpreter, beside the lightest peer there.
build     pure: Python source; compiled: an extension module. Both builds of {OURS} come from one source.
bytes     resident memory of the process per route; in brackets what its objects ask of the allocator.
flatness  ns with 10,000 routes over ns with one; both are walked in a loop without a pause.
absent    a library without the mode: pybreaker has no asyncio mode, hyx and aioadaptive have no other, and
          aioadaptive lets callers wait instead of refusing.
limiters  limits and throttled-py: a check, and the call if it passes.
requests  ns that a middleware adds, measured in turns of ten requests with the bare application. slowapi is its
          decorator: its middleware limits nothing in included routers. pass-through is a middleware that does
          nothing, and no peer."""


@dataclass(frozen=True, slots=True)
class Row:
    """One library in one case; `extra` is what few cases know: bytes, traced_bytes, ratio_10000_to_1."""

    case: str
    library: str
    build: str
    ns: float | None
    ratio: float | None = None
    extra: dict[str, float] = field(default_factory=dict)

    @property
    def weight(self) -> float | None:
        """What the case compares: nanoseconds, or bytes where there are no nanoseconds."""
        return self.extra.get("bytes") if self.ns is None else self.ns

    def as_dict(self) -> dict[str, str | float | None]:
        """The row as a program reads it."""
        return {
            "case": self.case,
            "library": self.library,
            "build": self.build,
            "ns": self.ns,
            "ratio_to_lightest_peer": self.ratio,
            **self.extra,
        }

    @classmethod
    def from_dict(cls, found: dict[str, str | float | None]) -> "Row":
        """The row that another interpreter's `as_dict` printed."""
        extra = {
            key: float(value)
            for key, value in found.items()
            if key in ("bytes", "traced_bytes", "ratio_10000_to_1") and value is not None
        }
        ns, ratio = found["ns"], found["ratio_to_lightest_peer"]
        return cls(
            case=str(found["case"]),
            library=str(found["library"]),
            build=str(found["build"]),
            ns=None if ns is None else float(ns),
            ratio=None if ratio is None else float(ratio),
            extra=extra,
        )


def lightest_peers(rows: Iterable[Row]) -> dict[str, Row]:
    """The peer with the least overhead in each case that has one."""
    lightest: dict[str, Row] = {}
    for row in rows:
        weight = row.weight
        if row.library in (OURS, PASS_THROUGH) or weight is None or weight <= 0.0:
            continue
        best = lightest.get(row.case)
        if best is None or weight < (best.weight or 0.0):
            lightest[row.case] = row
    return lightest


def with_ratios(rows: Sequence[Row], lightest: dict[str, Row]) -> list[Row]:
    """The rows, each compared with the lightest peer of its case; a ratio that is there already stays."""
    return [_compared(row, lightest.get(row.case)) for row in rows]


def _compared(row: Row, peer: Row | None) -> Row:
    if row.ratio is not None or row.weight is None or peer is None or not peer.weight:
        return row
    return replace(row, ratio=round(row.weight / peer.weight, 3))


def flatness_rows(rows: Sequence[Row]) -> list[Row]:
    """The derived rows: how much slower 10,000 routes are than one."""
    found = {(row.case, row.library, row.build): row.ns for row in rows}
    derived: list[Row] = []
    for case, (one, many) in FLATNESS.items():
        for (name, library, build), ns in found.items():
            many_ns = found.get((many, library, build))
            if name == one and ns and ns > 0.0 and many_ns is not None:
                flat = {"ratio_10000_to_1": round(many_ns / ns, 3)}
                derived.append(Row(case, library, build, ns=None, extra=flat))
    return derived


def as_json(rows: Sequence[Row]) -> str:
    """All rows as one JSON array, a row a line."""
    lines = ",\n".join("  " + json.dumps(row.as_dict()) for row in rows)
    return f"[\n{lines}\n]"


def as_table(rows: Sequence[Row], bare: dict[str, float]) -> str:
    """All rows as text, a block a case, the lightest first."""
    blocks: list[str] = []
    for case in MEANINGS:
        of_case = [row for row in rows if row.case == case]
        if of_case:
            blocks.append(_block(case, of_case, bare.get(case)))
    return "\n\n".join([*blocks, LEGEND])


def _block(case: str, rows: list[Row], bare: float | None) -> str:
    head = f"{case}: {MEANINGS[case]}"
    if bare is not None:
        head += f" (bare call {bare:.0f} ns)"
    rows = sorted(rows, key=_order)
    if case in FLATNESS:
        columns = f"  {'library':<{_WIDTH}} {'build':<9} {'flatness':>9}"
        lines = [
            f"  {row.library:<{_WIDTH}} {row.build:<9} {row.extra['ratio_10000_to_1']:>9.2f}" for row in rows
        ]
    elif case == MEMORY_CASE:
        columns = f"  {'library':<{_WIDTH}} {'build':<9} {'bytes':>9} {'(asked)':>9} {'ratio':>7}"
        lines = [
            f"  {row.library:<{_WIDTH}} {row.build:<9} {row.extra['bytes']:>9,.0f}"
            f" {'(' + format(row.extra['traced_bytes'], ',.0f') + ')':>9} {_ratio(row):>7}"
            for row in rows
        ]
    else:
        columns = f"  {'library':<{_WIDTH}} {'build':<9} {'ns':>9} {'ratio':>7}"
        lines = [f"  {row.library:<{_WIDTH}} {row.build:<9} {row.ns:>9,.0f} {_ratio(row):>7}" for row in rows]
    return "\n".join([head, columns, *lines])


def _ratio(row: Row) -> str:
    return "-" if row.ratio is None else f"{row.ratio:.2f}"


def _order(row: Row) -> float:
    weight = row.weight
    return row.extra.get("ratio_10000_to_1", 0.0) if weight is None else weight
