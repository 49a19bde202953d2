"""Socket statistics of Linux: connections that wait to be accepted, and how long a request has waited."""

from __future__ import annotations

import os
import socket
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["Backlog", "since_received"]

LISTENING = 10
"""``tcpi_state`` of a listening socket, the first byte of Linux's ``struct tcp_info``."""
WAITING = slice(24, 28)
"""``tcpi_unacked``: for a listening socket, the connections in its queue."""
RECEIVED = slice(52, 56)
"""``tcpi_last_data_recv``: milliseconds since data was last received."""
STREAMS = (socket.AF_INET, socket.AF_INET6)


def since_received(connection: socket.socket) -> float | None:
    """Seconds since data was last received on a connection; None if the kernel does not report it.

    At the start of a handler, before it reads the body, this is how long the request has waited.
    """
    try:
        info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, RECEIVED.stop)
    except (OSError, AttributeError):
        return None
    return int.from_bytes(info[RECEIVED], sys.byteorder) / 1e3 if len(info) == RECEIVED.stop else None


class Backlog:
    """The queues of this process's sockets that listen on ``port``, found when the object is created. Linux only.

    Elsewhere, and for sockets of other families, no connection ever waits.
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
            except OSError:  # closed in the meantime, like the descriptor of the listing
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


@contextmanager
def _borrowed(descriptor: int, family: int = -1) -> Iterator[socket.socket]:
    """A socket of the server, used without keeping it or a copy, which would keep its port open."""
    kind = -1 if family < 0 else socket.SOCK_STREAM
    found = socket.socket(family, kind, -1 if family < 0 else 0, descriptor)
    try:
        yield found
    finally:
        found.detach()


def _queue(found: socket.socket) -> int:
    """The connections in a socket's queue; -1 if it does not listen, or the kernel does not report them."""
    try:
        info = found.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 32)
    except (OSError, AttributeError):
        return -1
    return int.from_bytes(info[WAITING], sys.byteorder) if info[0] == LISTENING else -1
