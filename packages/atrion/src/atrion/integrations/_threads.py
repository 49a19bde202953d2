"""The thread pool of a server, whose size is learned if it is not given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from atrion.control.decision import Decision
from atrion.control.process import Process
from atrion.integrations._admission import Admission, Admitted
from atrion.integrations._process import ThreadPool
from atrion.integrations._sockets import since_received
from atrion.physics.config import check_number

__all__ = ["ServerThreads", "port_of", "waited_in_kernel"]

R = TypeVar("R")


def _nothing() -> None:
    """Does nothing."""


class ServerThreads:
    """The threads in which a server runs handlers; :meth:`begin` and what it returns belong to the same thread.

    Without a ``size`` it is learned.

    Raises:
        ConfigurationError: ``threads`` is below 1.
    """

    def __init__(self, size: int | None = None) -> None:
        if size is not None:
            check_number("threads", size, 1)
        self._pool = ThreadPool(size or 0)
        self._queued = 0

    def queue(self) -> int:
        """A request waits for a thread from now on; returns its number, for :meth:`begin`."""
        self._queued += 1
        return self._queued

    def begin(
        self,
        admission: Admission[R],
        request: R,
        port: object = None,
        waited: float | None = None,
        number: int | None = None,
    ) -> tuple[Admitted | Decision | None, Callable[[], None]]:
        """The decision of ``admission`` about a request, and a function to call when the thread has finished it.

        ``waited``: seconds for which it has waited for the thread by the clock of this machine. ``number``: from
        :meth:`queue`, if the server hands all requests to its threads in order. None if not known.
        """
        leave = _nothing
        behind = None if number is None else self._queued - number

        def arrive(told: float | None) -> Process:
            nonlocal leave
            process, leave = self._pool.enter(port, told, waited, behind), self._pool.leave
            return process

        verdict = admission.begin(request, arrive)
        return verdict, leave


def port_of(environ: Mapping[str, Any]) -> int | None:
    """The port of the server in a WSGI environment."""
    port = str(environ.get("SERVER_PORT", ""))
    return int(port) if port.isdecimal() else None


def waited_in_kernel(environ: Mapping[str, Any]) -> float | None:
    """Seconds for which a request without a body has waited, if the server exposes its socket, as gunicorn does."""
    if environ.get("CONTENT_LENGTH") or environ.get("HTTP_TRANSFER_ENCODING"):
        return None  # its last data may be later than its headers
    connection = environ.get("gunicorn.socket") or environ.get("werkzeug.socket")
    return None if connection is None else since_received(connection)
