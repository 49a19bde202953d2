"""The workflows name what there is: versions of Python, targets of make, files, distributions and extras."""

from __future__ import annotations

import re
import runpy
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[4]
WORKFLOWS = {
    path.stem: yaml.safe_load(path.read_text(encoding="utf-8"))
    for path in (ROOT / ".github/workflows").glob("*.yaml")
}
DIST: dict[str, Any] = runpy.run_path(str(ROOT / "scripts/dist"))


def steps() -> list[dict[str, Any]]:
    return [step for flow in WORKFLOWS.values() for job in flow["jobs"].values() for step in job["steps"]]


def classified() -> set[str]:
    """The versions of Python that the core is classified for."""
    project = tomllib.loads((ROOT / "packages/atrion/pyproject.toml").read_text(encoding="utf-8"))["project"]
    return set(re.findall(r"Python :: (3\.\d+)", "\n".join(project["classifiers"])))


def test_every_version_of_python_is_tested_built_and_tried() -> None:
    jobs = WORKFLOWS["test"]["jobs"]
    assert set(jobs["test"]["strategy"]["matrix"]["python"]) == classified() == set(DIST["PYTHONS"])
    for flow in WORKFLOWS.values():
        set_up = next(
            step for step in flow["jobs"]["dist"]["steps"] if "setup-python" in step.get("uses", "")
        )
        assert set(set_up["with"]["python-version"].split()) == classified()
    wheels = next(
        step
        for step in WORKFLOWS["release"]["jobs"]["compiled"]["steps"]
        if "cibuildwheel" in step.get("uses", "")
    )
    assert wheels["env"]["CIBW_BUILD"].split() == [
        f"cp{number.replace('.', '')}-*" for number in DIST["PYTHONS"]
    ]
    free = [
        step["with"]["python-version"]
        for step in jobs["free-threaded"]["steps"]
        if "setup" in step.get("uses", "")
    ]
    assert free == [f"{DIST['PYTHONS'][-1]}t"]


def test_what_they_run_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    said = "\n".join(step.get("run", "") for step in steps())
    asked = re.findall(r"\bmake (\w+)", said)
    assert asked
    assert set(asked) <= targets
    paths = re.findall(r"(?:packages|examples|scripts)/[\w./-]+", said)
    assert paths
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_what_is_published_is_what_make_dist_builds_and_nothing_of_the_vendor() -> None:
    publish = WORKFLOWS["release"]["jobs"]["publish"]
    packages = publish["strategy"]["matrix"]["package"]
    assert [name.replace("_", "-") for name in packages] == list(DIST["PACKAGES"])
    assert publish["permissions"] == {"id-token": "write"}
    assert set(publish["needs"]) == {"compiled", "sbom"}


@pytest.mark.parametrize("flow", WORKFLOWS)
def test_they_need_no_secret_and_pin_what_they_use(flow: str) -> None:
    text = (ROOT / f".github/workflows/{flow}.yaml").read_text(encoding="utf-8")
    assert "secrets." not in text
    assert WORKFLOWS[flow]["permissions"] == {"contents": "read"}
    for name in re.findall(r"uses: (\S+)", text):
        assert re.fullmatch(r"[\w.-]+/[\w.-]+@(v\d[\d.]*|release/v\d)", name), name
