"""``atrion demo``: a real HTTP service beyond its capacity, first unprotected, then protected."""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import json
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from atrion.cli.demo_load import DEADLINE, MIX
from atrion.cli.demo_server import SLOTS
from atrion.errors import ConfigurationError, MissingExtraError
from atrion.state import SupportsListing, provider_from

__all__ = ["add_parser"]


def add_parser(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "demo",
        help="a real HTTP service at several times its capacity, without and with Atrion",
        epilog="examples: atrion demo    atrion demo --overload 8    atrion demo --seconds 60 --json",
    )
    parser.add_argument("--seconds", type=float, default=36.0, help="length of the whole demo (default 36)")
    parser.add_argument("--overload", type=float, default=4.0, help="offered load over capacity (default 4)")
    parser.add_argument(
        "--workers", type=int, default=1, help="processes of the service, sharing what they learn (default 1)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the live view")
    parser.set_defaults(run=run)


@contextmanager
def server(workers: int, provider: str | None) -> Iterator[int]:
    """A server of so many worker processes on one listening socket; protected where they have a provider."""
    with socket.create_server(("127.0.0.1", 0), backlog=4096) as listener, ExitStack() as stack:
        processes = []
        for worker in range(workers):
            numbers = [str(number) for number in (worker, workers, listener.fileno())]
            command = [
                sys.executable,
                "-m",
                "atrion.cli.demo_server",
                *numbers,
                *([provider] if provider else []),
            ]
            process = subprocess.Popen(
                command, stdout=subprocess.PIPE, text=True, pass_fds=[listener.fileno()]
            )
            stack.enter_context(process)
            stack.callback(process.kill)
            processes.append(process)
        for process in processes:
            assert process.stdout is not None
            process.stdout.readline()  # it says when it is ready
        yield int(listener.getsockname()[1])


@contextmanager
def shared_store(workers: int) -> Iterator[str]:
    """The URL of a provider for so many workers: a folder that they share, or memory for one alone."""
    if workers == 1:
        yield "memory:"
        return
    with tempfile.TemporaryDirectory(prefix="atrion-demo-") as folder:
        yield f"workers://{folder}"


def sharing(provider: str) -> int:
    """How many nodes said something of late in a store."""

    async def count() -> int:
        store = provider_from(provider)
        await store.connect()
        try:
            return len(await store.list_nodes()) if isinstance(store, SupportsListing) else 0
        finally:
            await store.disconnect()

    return asyncio.run(count())


def load(port: int, capacity: float, overload: float, seconds: float) -> Iterator[dict[str, Any]]:
    """A load process' lines."""
    numbers = [str(value) for value in (port, capacity, overload, seconds)]
    command = [sys.executable, "-m", "atrion.cli.demo_load", *numbers]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            for line in process.stdout:
                yield json.loads(line)
        finally:
            process.kill()


class View:
    """A few lines redrawn in place on a terminal; plain lines a second elsewhere; silent with --json."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._live = sys.stdout.isatty()
        self._drawn = 0
        self._last = 0.0
        self._before: dict[str, Any] = {}

    def say(self, text: str) -> None:
        """A line that stays."""
        self._drawn = 0
        if not self._quiet:
            print(text, flush=True)

    def show(self, port: int, title: str, row: dict[str, Any]) -> None:
        """The state of this instant."""
        now = time.monotonic()
        if self._quiet or (not self._live and now - self._last < 1.0):
            return
        start: dict[str, Any] = {"at": 0.0, "tiers": {}}
        before = self._before if self._before.get("phase") == row["phase"] else start
        span = max(row["at"] - before["at"], 1e-3)
        self._before, self._last = row, now
        rates = {}
        for tier, counts in row["tiers"].items():
            old = before["tiers"].get(tier, {})
            rates[tier] = {name: (count - old.get(name, 0)) / span for name, count in counts.items()}
        lines = self.lines(title, row["phase"], rates, self.state(port))
        if self._drawn and self._live:
            print(f"\x1b[{self._drawn}A", end="")
        print("\n".join(f"{line}\x1b[K" if self._live else line for line in lines), flush=True)
        self._drawn = len(lines)

    @staticmethod
    def state(port: int) -> list[dict[str, Any]]:
        """The server's routes, or none while it is too busy to say."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/-/state", timeout=0.2) as reply:
                routes: list[dict[str, Any]] = json.load(reply)
                return routes
        except OSError:
            return []

    def lines(
        self, title: str, phase: str, rates: dict[str, dict[str, float]], routes: list[dict[str, Any]]
    ) -> list[str]:
        """The picture: goodput, then tiers, then routes."""
        good = sum(rate["good"] for rate in rates.values())
        sent = sum(rate["sent"] for rate in rates.values())
        lines = [
            f"{title:<12} {phase:<9} offered {sent:6.0f}/s   good {good:6.0f}/s {'█' * round(good / 10)}"
        ]
        if not self._live:
            return lines
        for tier, rate in rates.items():
            lines.append(
                f"  {tier:<9} good {rate['good']:6.0f}/s   shed {rate['shed']:6.0f}/s   late {rate['late']:6.0f}/s"
            )
        for route in routes:
            bar = "▒" * min(round(route["resistance"] / 4), 40)
            lines.append(
                f"  {route['route']:<14} {route['resistance']:6.1f} Ω  in flight {route['in_flight']:4d}  {bar}"
            )
        return lines + [""] * max(0, len(MIX) + 3 - len(lines))


def summary(phases: dict[str, dict[str, Any]], capacity: float) -> dict[str, float]:
    """The numbers of one run: ratios, and seconds for the p99 of what was not shed."""
    loaded = phases["overload"]
    good = sum(counts["good"] for counts in loaded["tiers"].values())
    critical = loaded["tiers"]["critical"]
    latencies = loaded["latencies"]
    calm = phases["calm"]["tiers"].values()
    recovery = phases["recovery"]["tiers"].values()
    return {
        "goodput_ratio": round(good / loaded["seconds"] / capacity, 4),
        "critical_success": round(critical["good"] / max(critical["sent"], 1), 4),
        "p99_seconds": round(latencies[int(0.99 * (len(latencies) - 1))], 4) if latencies else 0.0,
        "false_reject_ratio": round(sum(c["shed"] for c in calm) / max(sum(c["sent"] for c in calm), 1), 5),
        "recovery_success": round(
            sum(c["good"] for c in recovery) / max(sum(c["sent"] for c in recovery), 1), 4
        ),
    }


def table(result: dict[str, Any]) -> str:
    """The result as a person reads it."""
    rows = [
        ("goodput / capacity", "goodput_ratio", "{:.2f}"),
        ("critical served in time", "critical_success", "{:.3f}"),
        (f"p99 of admitted (deadline {DEADLINE:g} s)", "p99_seconds", "{:.3f} s"),
        ("shed while calm", "false_reject_ratio", "{:.3%}"),
        ("served in time after it", "recovery_success", "{:.3f}"),
    ]
    lines = [
        "",
        f"capacity {result['capacity_rps']:.0f}/s, offered {result['offered_rps']:.0f}/s",
        f"{'':<34}{'unprotected':>14}{'with Atrion':>14}",
    ]
    for name, key, form in rows:
        values = [form.format(result[run][key]) for run in ("unprotected", "protected")]
        lines.append(f"{name:<34}{values[0]:>14}{values[1]:>14}")
    if "workers" in result:
        lines.append(f"{result['workers_sharing']} of {result['workers']} workers shared what they learnt")
    return "\n".join(lines)


def run(arguments: argparse.Namespace) -> int:
    """Run the demo.

    Raises:
        ConfigurationError: a length or an overload that makes no sense.
        MissingExtraError: uvicorn is not installed.
    """
    if not 8.0 <= arguments.seconds <= 3600.0:
        raise ConfigurationError("--seconds", arguments.seconds, "give 8 to 3600")
    if not 1.0 <= arguments.overload <= 20.0:
        raise ConfigurationError("--overload", arguments.overload, "give 1 to 20")
    if not 1 <= arguments.workers <= SLOTS:
        raise ConfigurationError("--workers", arguments.workers, f"give 1 to {SLOTS}")
    if importlib.util.find_spec("uvicorn") is None:
        raise MissingExtraError("atrion demo", "demo")
    view = View(arguments.json)
    view.say("measuring the service's capacity …")
    with server(arguments.workers, None) as port:
        capacity = max(float(row["capacity"]) for row in load(port, 0.0, 0.0, 0.0))
    result: dict[str, Any] = {"capacity_rps": round(capacity, 1), "offered_rps": 0.0}
    each = max((arguments.seconds - 4.0) / 2.0, 2.0)
    for name, title in (("unprotected", "unprotected"), ("protected", "with Atrion")):
        view.say("")
        phases = {}
        with ExitStack() as stack:
            provider = stack.enter_context(shared_store(arguments.workers)) if name == "protected" else None
            port = stack.enter_context(server(arguments.workers, provider))
            for row in load(port, capacity, arguments.overload, each):
                if row.get("end"):
                    phases[row["phase"]] = row
                else:
                    view.show(port, title, row)
            if provider is not None and arguments.workers > 1:
                result["workers"], result["workers_sharing"] = arguments.workers, sharing(provider)
        result[name] = summary(phases, capacity)
        result["offered_rps"] = round(phases["overload"]["offered"], 1)
    print(json.dumps(result) if arguments.json else table(result))
    return 0
