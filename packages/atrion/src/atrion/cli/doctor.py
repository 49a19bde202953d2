"""``atrion doctor``: checks a store, and says what is wrong and what to do."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, replace
from typing import Any, Literal
from urllib.parse import unquote

from atrion.cli.parser import examples
from atrion.errors import AtrionError, ConfigurationError
from atrion.providers import provider_from, without_password
from atrion.state import (
    Batch,
    ClusterSync,
    Finding,
    Inspect,
    PhysicsVector,
    Recall,
    StateProvider,
)

__all__ = ["add_parser", "examine"]

ROUTE = "atrion/doctor"
"""The route that is written and read; nothing else is written."""
ROUND_TRIPS = 100
SLOW = 0.02
"""Median round trip in seconds above which a store is slow for a pulse of 0.1 s."""
ABILITIES: dict[str, type] = {
    "shares scars between nodes": ClusterSync,
    "remembers with ages": Recall,
    "writes in batches": Batch,
    "lists what it keeps": Inspect,
}


def add_parser(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "doctor",
        help="look at a store and say what is wrong and what to do",
        epilog=examples(
            "atrion doctor redis://localhost:6379/0", "atrion doctor workers:///var/lib/shop --json"
        ),
    )
    parser.add_argument("url", help="the store, as given to Atrion(provider=…) or Atrion(persistence=…)")
    parser.add_argument("--timeout", type=float, default=2.0, help="seconds one call may take (default 2)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run)


class Examination:
    """One check of a provider, with at most ``timeout`` seconds per call."""

    def __init__(self, provider: StateProvider, timeout: float) -> None:
        self.provider = provider
        self.timeout = timeout
        self.findings: list[Finding] = []
        self.round_trip: dict[str, float] = {}

    def say(self, check: str, level: Literal["good", "note", "bad"], detail: str, cure: str = "") -> None:
        """Add a finding."""
        self.findings.append(Finding(check, level, detail, cure))

    async def tried(self, check: str, call: Callable[[], Awaitable[Any]], cure: str) -> tuple[bool, Any]:
        """The answer of a call; a failure becomes a finding."""
        try:
            async with asyncio.timeout(self.timeout):
                return True, await call()
        except TimeoutError:
            self.say(
                check, "bad", f"no answer within {self.timeout:g} s", "is the store hung, or very far away?"
            )
        except Exception as error:  # every exception of a provider is a finding
            words = str(error) if isinstance(error, AtrionError) else f"{type(error).__name__}: {error}"
            self.say(check, "bad", words, cure)
        return False, None

    async def whole(self) -> None:
        """Run all checks that are possible."""
        began = time.perf_counter()
        connected, _ = await self.tried(
            "reachable", self.provider.connect, "is it running, and is the URL right?"
        )
        if connected:
            self.say("reachable", "good", f"connected in {_milliseconds(time.perf_counter() - began)}")
        await self.own()
        if connected:
            await self.keeping()
            await self.looking()
        await self.tried("leaving", self.provider.disconnect, "this is a fault of the provider")

    async def own(self) -> None:
        """The findings of the provider's own ``diagnose``."""
        provider: object = self.provider
        if not isinstance(provider, Inspect):
            return
        worked, found = await self.tried("diagnosis", provider.diagnose, "this is a fault of the provider")
        if not worked:
            return
        better = {finding.check for finding in found if finding.level == "bad"}
        self.findings = [kept for kept in self.findings if kept.level == "good" or kept.check not in better]
        self.findings += found

    async def keeping(self) -> None:
        """Write, read back, and measure round trips."""
        written = PhysicsVector(0.0, 0.0, 0.0, float(int(time.time())))
        cure = "may this user write?"
        worked, _ = await self.tried("writing", lambda: self.provider.update_vector(ROUTE, written), cure)
        if not worked:
            return
        worked, found = await self.tried(
            "reading", lambda: self.provider.get_vector(ROUTE), "may this user read?"
        )
        if not worked:
            return
        if found != written:
            cure = "does somebody else write this namespace, or is this a replica that lags?"
            self.say("reading", "bad", f"wrote {written}, read {found}", cure)
            return
        self.say("permissions", "good", f"the route {ROUTE!r} was written and read back")
        await self.timing()

    async def timing(self) -> None:
        """Round trips, one after another, for two timeouts at most."""
        times: list[float] = []
        until = time.perf_counter() + 2.0 * self.timeout
        while len(times) < ROUND_TRIPS and time.perf_counter() < until:
            began = time.perf_counter()
            if not (await self.tried("round trip", lambda: self.provider.get_vector(ROUTE), ""))[0]:
                return
            times.append(time.perf_counter() - began)
        times.sort()
        p50, p99 = times[len(times) // 2], times[min(int(0.99 * len(times)), len(times) - 1)]
        self.round_trip = {"p50": p50, "p99": p99, "count": float(len(times))}
        text = f"{_milliseconds(p50)} in the median, {_milliseconds(p99)} at p99, of {len(times)}"
        if p50 > SLOW:
            self.say(
                "round trip",
                "note",
                text,
                "a store nearer by lets news travel faster; calls never wait for it",
            )
        else:
            self.say("round trip", "good", text)

    async def looking(self) -> None:
        """The contents of the store, and the protocols that the provider implements."""
        provider: object = self.provider
        if isinstance(provider, Inspect):
            inspect = provider
            worked, routes = await self.tried(
                "listing", lambda: inspect.list_routes(100_000), "may this user list?"
            )
            if worked:
                nodes = await self.tried("listing", inspect.list_nodes, "may this user list?")
                heard = f", nodes heard of late: {len(nodes[1])}" if nodes[0] and nodes[1] else ""
                self.say("contents", "good", f"routes kept: {len(set(routes) - {ROUTE})}{heard}")
        self.say("abilities", "good", _abilities(self.provider))


def _abilities(provider: object) -> str:
    able = [words for words, ability in ABILITIES.items() if isinstance(provider, ability)]
    if callable(getattr(provider, "subscribe", None)):
        able.append("tells of changes")
    return ", ".join(able) or "keeps vectors, nothing more"


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:.2f} ms"


async def examine(provider: StateProvider, timeout: float = 2.0) -> Examination:
    """Check a provider; each call may take ``timeout`` seconds."""
    examination = Examination(provider, timeout)
    await examination.whole()
    return examination


def run(arguments: argparse.Namespace) -> int:
    """Check the store of a URL; returns 1 if a finding is bad.

    Raises:
        ConfigurationError: the timeout is invalid.
    """
    if not 0.0 < arguments.timeout <= 60.0:
        raise ConfigurationError("--timeout", arguments.timeout, "give more than 0 and at most 60 seconds")
    findings: list[Finding] = []
    round_trip: dict[str, float] = {}
    try:
        examination = asyncio.run(examine(provider_from(arguments.url, "url"), arguments.timeout))
    except AtrionError as error:
        findings = [Finding("configuration", "bad", str(error))]
    else:
        findings, round_trip = examination.findings, examination.round_trip
    findings = _without_secrets(findings, arguments.url)
    healthy = all(finding.level != "bad" for finding in findings)
    url = without_password(arguments.url)
    if arguments.json:
        result = {"url": url, "healthy": healthy, "round_trip_seconds": round_trip}
        print(json.dumps({**result, "findings": [asdict(finding) for finding in findings]}))
    else:
        print(page(url, findings, sys.stdout.isatty()))
    return 0 if healthy else 1


def _without_secrets(findings: list[Finding], url: str) -> list[Finding]:
    """The findings with the URL's passwords removed."""
    login, at, _ = url.partition("://")[2].partition("/")[0].rpartition("@")
    secret = login.partition(":")[2] if at else ""
    secrets = {secret, unquote(secret)} - {""}
    for word in sorted(secrets, key=len, reverse=True):
        findings = [
            replace(found, detail=found.detail.replace(word, "***"), cure=found.cure.replace(word, "***"))
            for found in findings
        ]
    return findings


def page(url: str, findings: list[Finding], color: bool = False) -> str:
    """The findings as text."""
    paint = {"good": "32", "note": "33", "bad": "31"}
    width = max(len(finding.check) for finding in findings)
    lines = [url]
    for finding in findings:
        mark = f"{finding.level:<4}"
        if color:
            mark = f"\x1b[{paint[finding.level]}m{mark}\x1b[0m"
        lines.append(f"  {mark}  {finding.check:<{width}}  {finding.detail}")
        if finding.cure:
            lines.append(f"  {'':<4}  {'':<{width}}  → {finding.cure}")
    bad = sum(finding.level == "bad" for finding in findings)
    lines.append(
        "All is well." if not bad else f"{bad} {'thing needs' if bad == 1 else 'things need'} your attention."
    )
    return "\n".join(lines)
