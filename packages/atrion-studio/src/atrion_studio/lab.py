"""Simulations for the Studio's pages, each in a process of its own, so that what is watched does not wait for it."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import sys
from contextlib import suppress
from typing import Any

from atrion.errors import AtrionError, ConfigurationError, MissingExtraError
from atrion_studio import whatif
from atrion_studio.history import History

__all__ = ["Lab", "Unusable"]

PATIENCE = 60.0
"""Seconds that a simulation may take."""
AT_ONCE = 2
MOST_TEXT = 12_000


class Unusable(AtrionError):
    """A simulation cannot be played as it was asked for."""


class Lab:
    """Plays scenarios with atrion-lab, where it is installed."""

    def __init__(self) -> None:
        self._running = 0

    @property
    def available(self) -> bool:
        """Whether atrion-lab is installed."""
        return importlib.util.find_spec("atrion_lab") is not None

    async def scenarios(self) -> dict[str, Any]:
        """Scenarios and controllers by name, each with a line about it; both empty without atrion-lab."""
        if not self.available:
            return {"scenarios": {}, "controllers": {}}
        return await self._ask({"list": True})

    async def run(self, wanted: dict[str, Any]) -> dict[str, Any]:
        """Play one scenario with several settings side by side.

        ``wanted`` has ``runs``, a list of one or two objects with a ``scenario`` by name or a ``toml`` text, a
        ``controller`` and a ``seed``.

        Raises:
            ConfigurationError: a name is unknown, or a value unusable.
            MissingExtraError: atrion-lab is not installed.
            AtrionError: too many simulations run already, or one takes too long.
        """
        runs = wanted.get("runs")
        if (
            not isinstance(runs, list)
            or not 1 <= len(runs) <= 2
            or not all(isinstance(run, dict) for run in runs)
        ):
            raise ConfigurationError("runs", runs, "give a list of one or two runs")
        for run in runs:
            text = run.get("toml")
            if text is not None and (not isinstance(text, str) or len(text) > MOST_TEXT):
                raise ConfigurationError("toml", "this text", f"give at most {MOST_TEXT} characters")
        return {"runs": [await self._ask(run) for run in runs]}

    async def what_if(self, wanted: dict[str, Any], history: History) -> dict[str, Any]:
        """The last minutes of a route again, as they were recorded and with something changed.

        Raises:
            ConfigurationError: nothing was recorded of the route, or a value is unusable.
            MissingExtraError: atrion-lab is not installed and a simulation is needed.
            AtrionError: too many simulations run already, or one takes too long.
        """
        question = whatif.Question.read(wanted)
        past = whatif.past_of(history, question)
        if question.gamma is not None:
            return whatif.with_gamma(past, question)
        texts = [whatif.scenario(past, question, changed) for changed in (False, True)]
        runs = [await self._ask({"toml": text, "controller": "atrion", "seed": 1}) for text in texts]
        return {"kind": "simulated", "runs": runs, "assumed": whatif.assumed(past)}

    async def _ask(self, question: dict[str, Any]) -> dict[str, Any]:
        if not self.available:
            raise MissingExtraError("the Studio's lab", "lab")
        if self._running >= AT_ONCE:
            raise AtrionError("two simulations run already; try again when they have ended")
        self._running += 1
        try:
            return await self._play(question)
        finally:
            self._running -= 1

    async def _play(self, question: dict[str, Any]) -> dict[str, Any]:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "atrion_studio.lab_process",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(PATIENCE):
                out, errors = await process.communicate(json.dumps(question).encode())
        except TimeoutError:
            raise AtrionError(
                f"the simulation took longer than {PATIENCE:g} s; give it a shorter scenario"
            ) from None
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        if process.returncode:
            lines = errors.decode(errors="replace").strip().splitlines()
            raise AtrionError(f"the simulation failed: {lines[-1] if lines else 'it said nothing'}")
        answer: dict[str, Any] = json.loads(out)
        if "error" in answer:
            raise Unusable(answer["error"])
        return answer
