"""What Linux knows of a server's sockets: connections that wait to be accepted, and since when a request has waited."""

from __future__ import annotations

import os
import socket
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["Backlog", "Watch", "since_received"]

GLANCE = 0.01
"""Seconds between looks."""

LISTENING = 10
"""``tcpi_state`` of a socket that listens, the first byte of Linux's ``struct tcp_info``."""
WAITING = slice(24, 28)
"""``tcpi_unacked``: of a socket that listens, the connections in its queue."""
RECEIVED = slice(52, 56)
"""``tcpi_last_data_recv``: milliseconds since the last data came."""
STREAMS = (socket.AF_INET, socket.AF_INET6)


def since_received(connection: socket.socket) -> float | None:
    """Seconds since the last data came by a connection; None where the kernel does not say.

    As a handler begins, before it reads the request's body, that is how long the request has waited for it.
    """
    try:
        info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, RECEIVED.stop)
    except (OSError, AttributeError):
        return None
    return int.from_bytes(info[RECEIVED], sys.byteorder) / 1e3 if len(info) == RECEIVED.stop else None


class Backlog:
    """The queues of this process's sockets that listen on ``port``; found once, when it is made. Linux only.

    Elsewhere, and for sockets of other families, there is never anybody waiting.
    """

    __slots__ = ("_sockets",)

    def __init__(self, port: object) -> None:
        self._sockets: list[tuple[int, int]] = []
        try:
            descriptors = [int(name) for name in os.listdir("/proc/self/fd")]  # noqa: PTH208  # names are all it takes
        except OSError:
            return
        for descriptor in descriptors:
            try:
                if stat.S_ISSOCK(os.fstat(descriptor).st_mode):
                    with _borrowed(descriptor) as found:
                        if found.family in STREAMS and found.getsockname()[1] == port and _queue(found) >= 0:
                            self._sockets.append((descriptor, found.family))
            except OSError:  # closed meanwhile, as the listing's own descriptor is
                continue

    def waiting(self) -> int:
        """Connections that wait to be accepted, 0 or more."""
        waiting = 0
        for descriptor, family in self._sockets:
            try:
                with _borrowed(descriptor, family) as found:
                    waiting += max(_queue(found), 0)
            except OSError:  # the server has closed it
                continue
        return waiting


class Watch:
    """Looks at a backlog a hundred times a second at most: of the port of the first request that was there."""

    __slots__ = ("_backlog", "_due", "_waiting")

    def __init__(self, now: float) -> None:
        self._backlog: Backlog | None = None
        self._due = now
        self._waiting = 0

    def waiting(self, now: float, port: object) -> int:
        """Connections that waited to be accepted on ``port`` when it looked last."""
        if now >= self._due:
            if self._backlog is None:
                self._backlog = Backlog(port)
            self._waiting = self._backlog.waiting()
            self._due = now + GLANCE
        return self._waiting


@contextmanager
def _borrowed(descriptor: int, family: int = -1) -> Iterator[socket.socket]:
    """A socket of somebody else's, looked at and not kept: who kept it, or a copy, would keep its port open."""
    kind = -1 if family < 0 else socket.SOCK_STREAM
    found = socket.socket(family, kind, -1 if family < 0 else 0, descriptor)
    try:
        yield found
    finally:
        found.detach()


def _queue(found: socket.socket) -> int:
    """The connections in a socket's queue; -1 where it does not listen, or the kernel does not say."""
    try:
        info = found.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 32)
    except (OSError, AttributeError):
        return -1
    return int.from_bytes(info[WAITING], sys.byteorder) if info[0] == LISTENING else -1
