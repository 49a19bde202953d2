"""The Studio's thread: reads the source once a tick, encodes one frame, and hands it to every viewer."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Mapping
from typing import Final

from atrion_studio.frames import Encoder, Frame
from atrion_studio.history import History
from atrion_studio.source import Row, Source
from atrion_studio.why import refused_tiers, why

__all__ = ["Ticker", "Viewer"]

logger: logging.Logger = logging.getLogger("atrion.studio")

TICK: Final = 0.25
"""Seconds between frames while somebody watches."""
UNWATCHED: Final = 1.0
"""Seconds between readings for the history alone."""
LINGER: Final = 30.0
"""Seconds for which a Studio counts as watched after the last request for a snapshot."""
BUDGET: Final = 0.15
"""Share of a core that the thread may take: many routes are sent less often."""
RATE_WINDOW: Final = 2.0
"""Seconds that rates are taken over."""
QUIET: Final = 10.0
"""Seconds without a refusal after which a time of shedding is over."""


class Viewer:
    """A queue of one: a viewer who is slow gets the newest frame, and the ones before it are lost."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._frame: Frame | None = None
        self._known = 0
        self._waiting = asyncio.Event()

    def offer(self, frame: Frame) -> None:
        """Replace the frame that waits; from any thread."""
        try:
            self._loop.call_soon_threadsafe(self._put, frame)
        except RuntimeError:  # the loop is closed, and so the viewer is gone
            pass

    def _put(self, frame: Frame) -> None:
        self._frame = frame
        self._waiting.set()

    async def take(self, timeout: float) -> Frame | None:
        """The newest frame not yet taken; None after ``timeout`` seconds without one."""
        try:
            async with asyncio.timeout(timeout):
                await self._waiting.wait()
        except TimeoutError:
            return None
        self._waiting.clear()
        frame, self._frame = self._frame, None
        return frame

    async def event(self, timeout: float) -> bytes | None:
        """:meth:`take` as a server-sent event, which adds to those that were taken before."""
        frame = await self.take(timeout)
        if frame is None:
            return None
        event = frame.event(self._known)
        self._known = frame.key
        return event


class Ticker:
    """Reads a source in a thread that begins with the first use, and in a forked child with its first."""

    def __init__(self, source: Source, history: History) -> None:
        self.source: Source = source
        self.history: History = history
        self.failures: int = 0
        self._viewers: set[Viewer] = set()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._process = 0
        self._wake = threading.Event()
        self._closed = False
        self._looked = -LINGER
        self._attached = False
        self._frame: Frame | None = None
        self._encoder = Encoder()
        self._counts: deque[tuple[float, dict[str, tuple[int, int]]]] = deque()
        self._modes: dict[str, str] = {}
        self._since: dict[str, tuple[float, float]] = {}

    # --- viewers -------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin, unless the thread runs already."""
        with self._lock:
            alive = self._thread is not None and self._thread.is_alive() and self._process == os.getpid()
            if alive or self._closed:
                return
            self._process = os.getpid()
            self._thread = threading.Thread(target=self._run, name="atrion-studio", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """End the thread; nothing is read any more."""
        self._closed = True
        self._wake.set()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(2.0)

    def join(self, viewer: Viewer) -> None:
        """A viewer comes, and gets the last frame at once."""
        self._viewers.add(viewer)
        if self._frame is not None:
            viewer.offer(self._frame)
        self.look()

    def leave(self, viewer: Viewer) -> None:
        """A viewer goes."""
        self._viewers.discard(viewer)

    @property
    def viewers(self) -> int:
        """How many viewers there are."""
        return len(self._viewers)

    def look(self) -> None:
        """Somebody looks: frames come at full rate for a while."""
        self._looked = time.monotonic()
        self.start()
        self._wake.set()

    async def newest(self, timeout: float = 5.0) -> bytes | None:
        """A frame read after this call, as JSON; None after ``timeout`` seconds without any."""
        viewer = Viewer(asyncio.get_running_loop())
        self._viewers.add(viewer)
        try:
            self.look()
            frame = await viewer.take(timeout)
        finally:
            self.leave(viewer)
        return None if frame is None else frame.snapshot()

    # --- the thread ----------------------------------------------------------------------------------------

    def _run(self) -> None:
        with asyncio.Runner() as runner:
            while not self._closed:
                watched = bool(self._viewers) or time.monotonic() - self._looked < LINGER
                began = time.thread_time()
                try:
                    self._attach(watched)
                    runner.run(self._turn())
                except Exception:
                    self.failures += 1
                    if self.failures == 1:
                        logger.exception("the Studio could not read its source; it tries again")
                pause = max(TICK if watched else UNWATCHED, (time.thread_time() - began) / BUDGET)
                self._wake.clear()
                if self._wake.wait(pause):
                    time.sleep(TICK / 5)  # the source is not read more often, however many ask
            try:
                self._attach(False)
                runner.run(self.source.close())
            except Exception:
                logger.exception("the Studio could not let go of its source")

    def _attach(self, watched: bool) -> None:
        if watched != self._attached:
            self._attached = watched
            (self.source.attach if watched else self.source.detach)()

    async def _turn(self) -> None:
        rows, cluster = await self.source.read()
        at = time.time()
        self._complete(at, rows)
        self.history.record(at, rows)
        self._frame = frame = self._encoder.encode(at, rows, cluster)
        for viewer in tuple(self._viewers):
            viewer.offer(frame)

    def _complete(self, at: float, rows: Mapping[str, Row]) -> None:
        """Add to every row what follows from the rows before: rates, since when it sheds, and why."""
        now = time.monotonic()
        counts = {
            route: (row["admitted"], row["shed"] if row["enforced"] else row["would_shed"])
            for route, row in rows.items()
        }
        while len(self._counts) > 1 and now - self._counts[1][0] >= RATE_WINDOW:
            self._counts.popleft()
        then, before = self._counts[0] if self._counts else (now, counts)
        last = self._counts[-1][1] if self._counts else {}
        self._counts.append((now, counts))
        span = max(now - then, 0.1)
        for route, row in rows.items():
            if self._encoder.is_known(route, row):
                continue
            admitted, shed = counts[route]
            old = before.get(route, (0, 0))
            row["rates"] = {
                "admitted": round(max(admitted - old[0], 0) / span, 1),
                "shed": round(max(shed - old[1], 0) / span, 1),
            }
            row["since"] = self._shedding_since(at, route, shed > last.get(route, (0, shed))[1])
            row["refused"], row["refused_in_part"] = refused_tiers(row)
            row["why"] = why(row)
            mode: str = row["mode"]
            known = self._modes.get(route, mode)
            if known != mode:
                self.history.note(at, route, known, mode, row["resistance"])
            self._modes[route] = mode
        for route in self._modes.keys() - rows.keys():
            self._modes.pop(route, None)
            self._since.pop(route, None)

    def _shedding_since(self, at: float, route: str, sheds: bool) -> float | None:
        began, latest = self._since.get(route, (at, 0.0))
        if sheds:
            self._since[route] = (began, at)
        elif route in self._since and at - latest >= QUIET:
            del self._since[route]
        found = self._since.get(route)
        return None if found is None else found[0]
