"""Whether what was installed works: run by the interpreter of an environment that has nothing else.

usage: smoke.py PART... with parts of: core, compiled, pure, workers, lab, demo, migrate, cluster=REDIS_URL,
prometheus, studio, integrations=NAME,...
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from importlib.metadata import entry_points, metadata, version
from pathlib import Path

PAID = {"cluster": "atrion_cluster", "studio": "atrion_studio"}
BIN = Path(sys.executable).parent


def command(*words: str) -> str:
    """What a command prints, which must succeed."""
    done = subprocess.run([BIN / "atrion", *words], capture_output=True, text=True)
    assert done.returncode == 0, f"atrion {' '.join(words)}: {done.stdout}{done.stderr}"
    return done.stdout


def core() -> None:
    from atrion import Atrion, FlowRejected, Telemetry, Tier

    engine = Atrion()

    @engine.protect("payments", tier=Tier.CRITICAL)
    def charge(card: str) -> str:
        return card

    assert charge("4242") == "4242"
    with engine.flow("search"):
        pass
    assert engine.update_physics("search", Telemetry(latency=0.01)).resistance > 0.0
    engine.force("search", 1e6)
    try:
        with engine.flow("search", tier=Tier.LOW):
            raise AssertionError("not shed")
    except FlowRejected as error:
        assert error.decision.retry_after >= 0.0
    assert version("atrion") in command("--version")
    assert "AtrionMiddleware" in command("init", "--framework", "starlette")
    assert metadata("atrion")["License-Expression"] == "Apache-2.0"


def compiled() -> None:
    import atrion

    assert atrion.compiled


def pure() -> None:
    import atrion

    assert not atrion.compiled


def workers() -> None:
    from atrion import Atrion

    with tempfile.TemporaryDirectory() as folder, Atrion(provider=f"workers://{folder}/atrion") as engine:
        assert engine.decide("r").allowed


def lab() -> None:
    assert json.loads(command("lab", "list", "--json"))["scenarios"]
    assert json.loads(command("lab", "run", "flash-crowd", "--json"))


def demo() -> None:
    assert "--overload" in command("demo", "--help")


def cluster(url: str) -> None:
    from atrion import Atrion, ConfigurationError
    from atrion.state import NodeRow, PhysicsVector
    from atrion_cluster import PostgresPersistenceAdapter, RedisClusterProvider
    from atrion_cluster.licence import shipped_keyring

    shipped_keyring()
    PostgresPersistenceAdapter("postgresql://localhost/app")
    assert "Evaluation" in command("license", "show")
    assert json.loads(command("doctor", url, "--json"))["healthy"]

    async def share() -> None:
        provider = RedisClusterProvider({"url": url})
        rows = {"r": NodeRow(PhysicsVector(50.0, 1.0, 40.0, 7.0), 20.0, 0.0)}
        await provider.exchange("a", rows, ["r"])
        assert "r" in await provider.exchange("b", {}, ["r"])
        await provider.disconnect()

    asyncio.run(share())
    with Atrion(provider=url) as engine:
        assert engine.decide("another").allowed
    try:
        Atrion(provider=url, license="atrion_pro_x")
    except ConfigurationError:
        pass
    else:
        raise AssertionError("a malformed key was accepted")


def integrations(names: str) -> None:
    for name in names.split(","):
        assert importlib.import_module(f"atrion.integrations.{name}").__all__


def migrate() -> None:
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder, "program.py")
        program.write_text("import pybreaker\n\ndb = pybreaker.CircuitBreaker()\n")
        command("migrate", "pybreaker", folder, "--write")
        assert 'db = atrion.protect("db")' in program.read_text()


def prometheus() -> None:
    import atrion_cluster.licence.metrics


def studio() -> None:
    import atrion_studio

    if "studio" in entry_points(group="atrion.commands").names:
        assert "usage" in command("studio", "--help")


def main() -> None:
    os.environ.pop("PYTHONPATH", None)
    parts = dict(part.partition("=")[::2] for part in sys.argv[1:])
    for name, value in parts.items():
        run = globals()[name]
        run(value) if value else run()
    for part, module in PAID.items():
        assert part in parts or importlib.util.find_spec(module) is None, f"{module} was installed uninvited"
    assert importlib.util.find_spec("atrion_vendor") is None
    if "lab" not in parts and "demo" not in parts:
        assert importlib.util.find_spec("atrion_lab") is None


if __name__ == "__main__":
    main()
