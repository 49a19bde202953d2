"""Pods as processes of their own, from the outside."""

from __future__ import annotations

import json
import select
import subprocess
import sys
import time
from typing import Any, Self


class PodProcess:
    """One pod; its events in the order they came.

    Args:
        url: The store.
        node: Its name; unique by default.
        channel: Whether it listens to the channel.
    """

    def __init__(self, url: str, node: str | None = None, *, channel: bool = True) -> None:
        command = [sys.executable, "-m", "benchmarks.cluster.pod", "--url", url]
        command += [] if node is None else ["--node", node]
        command += [] if channel else ["--no-channel"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        self.events: list[dict[str, Any]] = []
        self._rest = b""
        self._ready: dict[str, Any] | None = None

    @property
    def ready(self) -> dict[str, Any]:
        """What it said of itself at its start; several start side by side until they are asked."""
        if self._ready is None:
            self._ready = self.wait("ready")
        return self._ready

    def tell(self, line: str) -> None:
        """Give it a command."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n".encode())

    def wait(self, event: str, patience: float = 20.0) -> dict[str, Any]:
        """The next event of that kind.

        Raises:
            TimeoutError: it does not come.
        """
        assert self.process.stdout is not None
        end = time.monotonic() + patience
        while True:
            for number, found in enumerate(self.events):
                if found["event"] == event:
                    return self.events.pop(number)
            left = end - time.monotonic()
            if left <= 0.0 or not select.select([self.process.stdout], [], [], left)[0]:
                raise TimeoutError(f"no {event!r} within {patience} s; heard {self.events}")
            chunk = self.process.stdout.read(65536)
            if not chunk:
                raise TimeoutError(f"the pod ended with {self.process.wait()}")
            *lines, self._rest = (self._rest + chunk).split(b"\n")
            self.events += [json.loads(line) for line in lines]

    def kill(self) -> None:
        """``kill -9``."""
        self.process.kill()
        self.close()

    def close(self) -> None:
        """Let it end."""
        if self.process.poll() is None:
            self.tell("quit")
        self.process.wait(10.0)
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
