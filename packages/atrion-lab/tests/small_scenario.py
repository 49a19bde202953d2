"""A scenario of ten seconds, described in TOML, for tests to change and to play."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from atrion_lab.expectations import rows
from atrion_lab.policies.catalog import controller
from atrion_lab.scenario_file import Described, read_text

SERVER = """
[servers.api]
workers = 2
service = { law = "fixed", mean = 0.05 }
"""
TRAFFIC = """
[[traffic]]
to = "api"
arrivals = { law = "poisson", rate = 20 }
"""
HEAD = 'name = "mine"\nseconds = 10\n'
PLAIN = HEAD + SERVER + TRAFFIC


def describe(text: str, folder: Path = Path()) -> Described:
    return read_text(text, folder)


def measured(text: str, name: str = "none", folder: Path = Path()) -> dict[str, Any]:
    found = describe(text, folder)
    ((_, _, row),) = rows(found.scenario, [controller(name)], [1], found.well)
    return row
