"""What the wheels hold, what they ask for, and that the core needs nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from email import message_from_bytes
from email.message import Message
from pathlib import Path, PurePosixPath
from zipfile import ZipFile

import pytest

PACKAGES = Path(__file__).parents[3]
DISTRIBUTIONS = ("atrion", "atrion-lab", "atrion-cluster")
FIRST_USE = """
from importlib.util import find_spec
from atrion import Atrion, Tier
from atrion.integrations.asgi import AtrionMiddleware
from atrion.testing import VirtualClock

assert find_spec("atrion_lab") is find_spec("lmdb") is find_spec("numpy") is None
atrion = Atrion(provider="memory:", clock=VirtualClock())

@atrion.protect("payments", tier=Tier.CRITICAL)
def charge(card):
    return f"charged {card}"

assert charge("4242") == "charged 4242"
assert atrion.snapshot()["payments"].in_flight == 0
"""

pytestmark = pytest.mark.slow


def run(*command: object, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "PYTHON"))}
    return subprocess.run(
        [str(word) for word in command],
        capture_output=True,
        text=True,
        check=False,
        env=clean | {"ATRION_COMPILE": "0"} | environment,
    )


def done(*command: object, **environment: str) -> str:
    """What a command that must succeed prints."""
    result = run(*command, **environment)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The wheel of a distribution, built once from a copy of its folder."""
    folder = tmp_path_factory.mktemp("wheels")

    def built(name: str) -> Path:
        source, target = folder / name, folder / f"{name}-wheel"
        if not target.exists():
            ignored = shutil.ignore_patterns("build", "*.egg-info", "__pycache__", "*.so")
            shutil.copytree(PACKAGES / name, source, ignore=ignored)
            options = ("--wheel", "--no-isolation", "--skip-dependency-check", "--outdir", target)
            done(sys.executable, "-m", "build", *options, source)
        (found,) = target.glob("*.whl")
        return found

    return built


@pytest.fixture(scope="module")
def alone(wheel: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment that was empty until the core came, without any index of packages."""
    folder = tmp_path_factory.mktemp("environment")
    done(sys.executable, "-m", "venv", folder)
    bin_ = folder / "bin"
    done(bin_ / "python", "-m", "pip", "install", "--no-index", "--quiet", wheel("atrion"))
    return bin_


def files_of(wheel: Path) -> set[str]:
    with ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


def metadata_of(wheel: Path) -> Message:
    with ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return message_from_bytes(archive.read(name))


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_a_wheel_holds_its_source_and_nothing_else(name: str, wheel: Callable[[str], Path]) -> None:
    source = PACKAGES / name / "src"
    own = {
        path.relative_to(source).as_posix()
        for path in source.rglob("*")
        if path.suffix in {".py", ".typed", ".toml", ".lua", ".sql", ".json", ".txt"}
        and ".egg-info" not in path.as_posix()
    }
    assert files_of(wheel(name)) == own
    assert {PurePosixPath(file).parts[0] for file in own} == {name.replace("-", "_")}


def test_the_core_holds_neither_lab_nor_demo_nor_tests(wheel: Callable[[str], Path]) -> None:
    words = {part for file in files_of(wheel("atrion")) for part in PurePosixPath(file).with_suffix("").parts}
    assert not {word for word in words if word.startswith(("lab", "demo", "test_")) or word == "tests"}


def test_the_lab_and_the_core_ask_for_each_other_in_the_same_version(wheel: Callable[[str], Path]) -> None:
    core, lab = metadata_of(wheel("atrion")), metadata_of(wheel("atrion-lab"))
    version = core["Version"]
    assert lab["Version"] == version
    assert [line for line in lab.get_all("Requires-Dist", []) if "extra ==" not in line] == [
        f"atrion=={version}"
    ]
    requirements = core.get_all("Requires-Dist", [])
    assert [line for line in requirements if "extra ==" not in line] == []
    asked = {line.partition(";")[0].strip() for line in requirements if line.startswith("atrion-lab")}
    extras = lab.get_all("Provides-Extra", [])
    assert asked == {f"atrion-lab[{extra}]=={version}" for extra in extras}


def test_the_core_works_alone(alone: Path) -> None:
    assert done(alone / "python", "-I", "-W", "error", "-c", FIRST_USE) == ""
    assert done(alone / "atrion", "--version").endswith("(pure Python core)\n")
    assert "All is well." in done(alone / "atrion", "doctor", "memory:")


@pytest.mark.parametrize("name", ["demo", "lab"])
def test_without_the_lab_its_commands_name_the_pip_command(name: str, alone: Path) -> None:
    said = run(alone / "atrion", name, "run", "flash-crowd")
    assert (said.returncode, said.stdout) == (2, "")
    assert said.stderr == f'atrion {name} is not installed: pip install "atrion[{name}]"\n'


def test_the_lab_plays_beside_the_core_alone(
    alone: Path, wheel: Callable[[str], Path], tmp_path: Path
) -> None:
    install = ("-m", "pip", "install", "--no-index", "--no-deps", "--quiet", "--target", tmp_path)
    done(alone / "python", *install, wheel("atrion-lab"))
    assert "short-queue-8" in done(alone / "atrion", "lab", "list", PYTHONPATH=str(tmp_path))
    played = done(alone / "atrion", "lab", "run", "cold-start-in-overload", PYTHONPATH=str(tmp_path))
    assert "goodput / capacity" in played
    drawn = run(alone / "atrion", "lab", "run", "steady-4x", "--plot", "x.svg", PYTHONPATH=str(tmp_path))
    assert (drawn.returncode, 'pip install "atrion[lab]"' in drawn.stderr) == (1, True)
    shown = run(alone / "atrion", "demo", PYTHONPATH=str(tmp_path))
    assert (shown.returncode, 'pip install "atrion[demo]"' in shown.stderr) == (1, True)
