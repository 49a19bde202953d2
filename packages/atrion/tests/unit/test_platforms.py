"""Platforms and installations: what is missing elsewhere, taken away here."""

from __future__ import annotations

import shutil
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path

import pytest

import atrion

SITE = Path(atrion.__file__).parents[1]
ROOT = Path(__file__).parents[4]


def run(program: str, *arguments: str, options: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *options, "-c", textwrap.dedent(program), *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=60.0,
    )


ELSEWHERE = """
import importlib, os, pkgutil, signal, sys
from celery import Celery  # uses what is there on the platform that it finds

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name in {"fcntl", "grp", "pwd", "resource", "termios", "tty", "_posixshmem"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

for name in ("fcntl", "grp", "pwd", "resource", "termios", "tty"):
    sys.modules.pop(name, None)
sys.meta_path.insert(0, Missing())
for name in ("fork", "register_at_fork", "forkpty", "O_CLOEXEC", "pread", "sched_getaffinity", "getpgid", "setsid"):
    if hasattr(os, name):
        delattr(os, name)
for name in ("SIGHUP", "SIGKILL", "SIGSTOP", "SIGCONT", "SIGUSR1"):
    if hasattr(signal, name):
        delattr(signal, name)

import atrion
for module in pkgutil.walk_packages(atrion.__path__, "atrion."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)

engine = atrion.Atrion()
with engine, engine.flow("r"):
    pass
assert engine.snapshot()["r"].admitted == 1
try:
    atrion.Atrion(provider="workers:///nowhere")
except atrion.ConfigurationError as error:
    assert "file locks" in str(error), error
else:
    raise AssertionError
"""


def test_everything_can_be_imported_where_nothing_of_unix_is() -> None:
    said = run(ELSEWHERE)
    assert said.returncode == 0, said.stderr


def test_the_middleware_works_where_nothing_of_unix_is() -> None:
    program = ELSEWHERE.partition("engine = ")[0] + textwrap.dedent("""
    import asyncio, httpx
    from atrion.integrations.asgi import AtrionMiddleware

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})

    async def main():
        transport = httpx.ASGITransport(AtrionMiddleware(app, atrion.Atrion()))
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            assert [(await client.get("/")).status_code for _ in range(3)] == [200] * 3

    asyncio.run(main())
    """)
    said = run(program)
    assert said.returncode == 0, said.stderr


FLOWS = """
import atrion
engine = atrion.Atrion()
with engine.flow("r"):
    pass
assert engine.snapshot()["r"].admitted == 1
print("flows", flush=True)
"""


def test_a_subinterpreter() -> None:
    module = "_xxsubinterpreters" if sys.version_info < (3, 13) else "_interpreters"
    isolated = "isolated=False" if sys.version_info < (3, 13) else "'legacy'"
    said = run(
        f"import {module} as interpreters\n"
        f"interpreters.run_string(interpreters.create({isolated}), {FLOWS!r})"
    )
    assert said.stdout.strip() == "flows", said.stderr


# --- installations -------------------------------------------------------------------------------------------


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """The package and LMDB without any metadata, as a bundle has them."""
    import lmdb

    sites = {SITE, Path(lmdb.__file__).parents[1]}
    for site in sites:
        for found in site.iterdir():
            wanted = found.name in {"atrion", "lmdb"} or found.name.startswith(
                ("lmdb.libs", "_core__mypyc", "atrion.")
            )
            if wanted and not found.name.endswith((".dist-info", ".egg-info")):
                copy = shutil.copytree if found.is_dir() else shutil.copy
                copy(found, tmp_path / found.name)
    return tmp_path


def test_a_bundle_without_metadata_has_the_providers_of_the_package(bundle: Path, tmp_path: Path) -> None:
    program = """
    import asyncio, sys
    sys.path.insert(0, sys.argv[1])
    from atrion import Atrion, ConfigurationError
    for url in ("memory:", "workers://" + sys.argv[2]):
        engine = Atrion(provider=url)
        with engine.flow("r"):
            pass
        assert asyncio.run(engine.pulse_once())
    try:
        Atrion(provider="redis://host")
    except ConfigurationError as error:
        print(error)
    from atrion.cli import main
    try:
        main(["--version"])
    except SystemExit:
        pass
    """
    said = run(program, str(bundle), str(tmp_path / "store"), options=("-S",))
    assert said.returncode == 0, said.stderr
    assert "pip install atrion-cluster" in said.stdout
    assert "metadata" in said.stdout
    assert "of unknown version" in said.stdout


def test_an_unknown_scheme_is_told_apart_from_a_missing_package() -> None:
    with pytest.raises(atrion.ConfigurationError, match="memory") as unknown:
        atrion.Atrion(provider="nonsense://host")
    assert "pip install" not in str(unknown.value)


@pytest.mark.parametrize("package", ["atrion", "atrion-cluster"])
def test_no_newer_python_is_shut_out(package: str) -> None:
    project = tomllib.loads((ROOT / "packages" / package / "pyproject.toml").read_text())["project"]
    assert project["requires-python"] == ">=3.11"


@pytest.mark.parametrize("enabled", [True, False])
def test_a_build_without_the_gil_is_told_at_import(enabled: bool) -> None:
    said = run(f"import sys\nsys._is_gil_enabled = lambda: {enabled}\nimport atrion\nprint(atrion.compiled)")
    assert said.stdout.strip() == str(atrion.compiled)
    assert ("does not support running without the GIL" in said.stderr) is not enabled
