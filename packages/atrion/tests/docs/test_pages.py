"""What the pages say of the code is held to the code."""

from __future__ import annotations

import dataclasses
import inspect
import math
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from atrion import (
    SLO,
    AdaptiveBreak,
    Atrion,
    ConfigurationError,
    Decision,
    PhysicsConfig,
    Reason,
    RouteSnapshot,
    Tier,
)
from atrion.physics import BAND_WIDTH, band

ROOT = Path(__file__).parents[4]
CONFIGURATION = (ROOT / "docs/configuration.md").read_text()
CLASSES = (SLO, PhysicsConfig, AdaptiveBreak)


def rows_of(page: str, title: str) -> list[dict[str, str]]:
    """The rows of the first table below a heading, by column."""
    section = re.split(r"^#+ ", page.split(f"# {title}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]
    lines = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in section.splitlines()
        if line[:1] == "|"
    ]
    return [dict(zip(lines[0], line, strict=True)) for line in lines[2:]]


ROWS = [(kind, row) for kind in CLASSES for row in rows_of(CONFIGURATION, kind.__name__)]


@pytest.mark.parametrize("kind", CLASSES)
def test_every_field_has_its_row_default_and_meaning(kind: type[Any]) -> None:
    rows = rows_of(CONFIGURATION, kind.__name__)
    assert [row["field"].strip("`") for row in rows] == [field.name for field in fields(kind)]
    for row, field in zip(rows, fields(kind), strict=True):
        assert row["default"] == f"`{field.default}`"
        assert row["meaning"]
        if "reference" in row:
            assert row["reference"] == f"`{getattr(PhysicsConfig.reference(), field.name)}`"


@pytest.mark.parametrize(
    "kind, row", ROWS, ids=[f"{kind.__name__}.{row['field'].strip('`')}" for kind, row in ROWS]
)
def test_the_range_of_a_field_is_the_one_that_is_checked(kind: type[Any], row: dict[str, str]) -> None:
    name = row["field"].strip("`")
    match = re.fullmatch(r"([\[(])(.+), (.+)([\])])", row["range"])
    if match is None:
        with pytest.raises(ConfigurationError):
            kind(**{name: "maybe"})
        return
    low, high = (math.inf if end == "∞" else float(end) for end in match.group(2, 3))

    def allowed(value: float) -> bool:
        try:
            kind(**{name: value})
        except ConfigurationError:
            return False
        return True

    assert allowed(low) is (match[1] == "[")
    assert not allowed(low - 0.001 if low else -0.001)
    assert allowed(high) is (match[4] == "]")
    if high != math.inf:
        assert not allowed(high * 1.001)
    assert not allowed(math.nan)


def test_the_engines_arguments_are_all_there() -> None:
    rows = {row["argument"].strip("`"): row["default"].strip("`") for row in rows_of(CONFIGURATION, "Atrion")}
    parameters = dict(list(inspect.signature(Atrion.__init__).parameters.items())[1:])
    assert rows == {name: str(parameter.default) for name, parameter in parameters.items()}
    for name in list(inspect.signature(Atrion.configure).parameters)[2:]:
        assert f"`{name}`" in CONFIGURATION


def test_the_tiers_have_the_bands_that_are_written() -> None:
    rows = rows_of((ROOT / "docs/how-it-works.md").read_text(), "Units")
    said = {row["tier"].strip("`"): row["volts"] for row in rows}
    assert said == {tier.name.lower(): f"{band(tier):.0f} to {band(tier) + BAND_WIDTH:.0f}" for tier in Tier}


def test_every_reason_is_explained() -> None:
    rows = rows_of((ROOT / "docs/how-it-works.md").read_text(), "Why was it shed?")
    assert {row["reason"].strip("`") for row in rows} == {str(reason) for reason in Reason}


def test_the_snapshots_fields_are_all_there() -> None:
    page = (ROOT / "docs/observing.md").read_text()
    said = set(re.findall(r"`(\w+)`", "".join(row["field"] for row in rows_of(page, "A snapshot"))))
    assert said == {field.name for field in dataclasses.fields(RouteSnapshot)} - {"route"}
    assert {"allowed", "reason", "retry_after"} <= set(dir(Decision))
