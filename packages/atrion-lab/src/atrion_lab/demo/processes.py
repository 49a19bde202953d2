"""The demo's processes: each prints JSON lines, ends with the demo, and ends the demo with an error if it dies."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import IO, Any, Self

from atrion.errors import AtrionError

__all__ = ["Processes", "Row", "event_loop", "say", "tied_to_parent"]

Row = dict[str, Any]

PATIENCE = 20.0
"""Seconds without output of any process after which the demo fails."""


class Processes:
    """Starts processes and reads their output; leaving the context ends them all."""

    def __init__(self) -> None:
        self._processes: list[subprocess.Popen[str]] = []
        self._errors: list[IO[bytes]] = []
        self._readers: list[threading.Thread] = []
        self._lines: SimpleQueue[tuple[str, Row]] = SimpleQueue()

    def start(self, name: str, module: str, arguments: Sequence[object], keep: Sequence[int] = ()) -> None:
        """Run a module of this package; ``keep`` are file descriptors that it inherits."""
        errors = tempfile.TemporaryFile()  # noqa: SIM115  # closed on leaving the context
        self._errors.append(errors)
        process = subprocess.Popen(
            [sys.executable, "-m", f"atrion_lab.demo.{module}", *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            pass_fds=keep,
            process_group=0,  # the parent handles Ctrl-C
        )
        self._processes.append(process)
        reader = threading.Thread(target=self._read, args=(name, process, errors), daemon=True)
        self._readers.append(reader)
        reader.start()

    def _read(self, name: str, process: subprocess.Popen[str], errors: IO[bytes]) -> None:
        row: Row = {}
        assert process.stdout is not None
        with process.stdout as lines:
            for line in lines:
                row = json.loads(line)
                self._lines.put((name, row))
        if not row.get("done"):
            self._lines.put((name, {"died": f"{_fate(process.wait())}{_last_line(errors)}"}))

    def rows(self) -> Iterator[tuple[str, Row]]:
        """Names of processes with their lines, as they arrive; ends when a process reports that it is done.

        Raises:
            AtrionError: a process died, or none has printed a line in time.
        """
        while True:
            try:
                name, row = self._lines.get(timeout=PATIENCE)
            except Empty:
                raise AtrionError(
                    f"the demo heard nothing for {PATIENCE:g} s; is the machine too busy?"
                ) from None
            if row.get("done"):
                return
            if "died" in row:
                raise AtrionError(f"the demo's {name} process ended early ({row['died']})")
            yield name, row

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.wait()
            assert process.stdin is not None
            process.stdin.close()
        for reader in self._readers:
            reader.join()
        for errors in self._errors:
            errors.close()


def _fate(status: int) -> str:
    return f"exit status {status}" if status >= 0 else f"killed by {signal.Signals(-status).name}"


def _last_line(errors: IO[bytes]) -> str:
    errors.seek(0)
    lines = errors.read().decode(errors="replace").strip().splitlines()
    return f", {lines[-1]}" if lines else ""


def say(**row: Any) -> None:
    """In a child process: print one line for the parent."""
    print(json.dumps(row), flush=True)


def tied_to_parent() -> None:
    """In a child process: exit when the parent ends, which closes standard input."""

    def wait() -> None:
        # Not through sys.stdin, whose lock would abort an interpreter that exits meanwhile.
        while os.read(0, 1024):
            pass
        os._exit(0)

    threading.Thread(target=wait, daemon=True).start()


def event_loop() -> asyncio.Runner:
    """A runner on uvloop where it is installed."""
    if importlib.util.find_spec("uvloop") is None:
        return asyncio.Runner()
    import uvloop

    return asyncio.Runner(loop_factory=uvloop.new_event_loop)
