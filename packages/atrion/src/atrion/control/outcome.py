"""The outcome that an exception stands for, for every guard and integration. Compiled."""

from __future__ import annotations

import sys
from contextvars import ContextVar
from typing import Final, final

from atrion.errors import FlowRejected
from atrion.sensing.telemetry import Outcome

__all__ = ["Rejections", "note_rejection", "outcome_of", "rejection_in", "status_of", "stems_from_rejection"]

_SUCCESS: Final = int(Outcome.SUCCESS)
_FAILURE: Final = int(Outcome.FAILURE)
_IGNORED: Final = int(Outcome.IGNORED)
_DROPPED: Final = int(Outcome.DROPPED)
LONGEST_CHAIN: Final = 16
"""Most causes of causes that are followed."""

CANCELLATIONS: Final = (
    ("asyncio", "CancelledError"),
    ("trio", "Cancelled"),
    ("greenlet", "GreenletExit"),
    ("gevent", "Timeout"),
    ("eventlet", "Timeout"),
    ("concurrent.futures", "CancelledError"),
)
"""Exceptions that abandon a call before its answer; anyio uses those of asyncio and trio."""
CALLERS: Final = (
    ("django.http", "Http404"),
    ("django.core.exceptions", "PermissionDenied"),
    ("django.core.exceptions", "SuspiciousOperation"),
    ("django.core.exceptions", "BadRequest"),
    ("django.http.multipartparser", "MultiPartParserError"),
)
"""Exceptions that a framework answers with a status below 500, but that do not carry the status."""


def _is_one_of(error: BaseException, known: tuple[tuple[str, str], ...]) -> bool:
    """Whether ``error`` is of a class given by module and name; a module never imported has raised nothing."""
    for module, name in known:
        kind = getattr(sys.modules.get(module), name, None)
        if isinstance(kind, type) and isinstance(error, kind):
            return True
    return False


def outcome_of(error: BaseException, ignore: tuple[type[BaseException], ...] = ()) -> int:
    """The :class:`~atrion.Outcome` that an exception stands for; the classes in ``ignore`` are ignored.

    Cancelled calls are dropped. Rejections, errors caused by them, HTTP statuses below 500 and exits are ignored. A
    group has the worst outcome of its members.
    """
    if isinstance(error, (FlowRejected, ignore)):
        return _IGNORED
    if isinstance(error, BaseExceptionGroup):
        outcomes = [outcome_of(inner, ignore) for inner in error.exceptions]
        if _FAILURE in outcomes:
            return _IGNORED if stems_from_rejection(error) else _FAILURE
        return _DROPPED if _DROPPED in outcomes else _IGNORED
    if _is_one_of(error, CANCELLATIONS):
        return _DROPPED
    if not isinstance(error, Exception):
        return _IGNORED
    status = status_of(error)
    if (0 < status < 500) or _is_one_of(error, CALLERS) or stems_from_rejection(error):
        return _IGNORED
    return _FAILURE


def rejection_in(error: BaseException | None) -> FlowRejected | None:
    """``error`` if it is a rejection, or the last one of a group of rejections only; otherwise None."""
    if isinstance(error, FlowRejected):
        return error
    if isinstance(error, BaseExceptionGroup):
        found: FlowRejected | None = None
        for inner in error.exceptions:
            found = rejection_in(inner)
            if found is None:
                return None
        return found
    return None


def stems_from_rejection(error: BaseException | None) -> bool:
    """Whether ``error`` is a rejection, was raised from one, or is a 503 raised while one was handled."""
    for _ in range(LONGEST_CHAIN):
        if error is None:
            return False
        if rejection_in(error) is not None:
            return True
        error = error.__context__ if error.__cause__ is None and status_of(error) == 503 else error.__cause__
    return False


def status_of(error: BaseException) -> int:
    """The HTTP status, 100 to 599, that an exception carries; 0 for none.

    Starlette, FastAPI, Django REST framework and Tornado call it ``status_code``, aiohttp and urllib ``status``, and
    clients such as httpx have it in the ``response``. A ``code`` may be anything and counts only for
    Werkzeug, whose exceptions are responses.
    """
    try:
        for carrier in (error, getattr(error, "response", None)):
            for name in ("status_code", "status"):
                status = _status(getattr(carrier, name, None))
                if status > 0:
                    return status
        return _status(getattr(error, "code", None)) if callable(getattr(error, "get_response", None)) else 0
    except Exception:  # the exception's own properties
        return 0


def _status(value: object) -> int:
    return int(value) if isinstance(value, int) and 100 <= value <= 599 else 0


# --- rejections that are answered, and not raised ------------------------------------------------------------


@final
class Rejections:
    """Whether a guarded call within a request was shed, for integrations that see only the response.

    An exception handler that answers 503 may run in another task or thread, where the exception cannot be seen.
    """

    __slots__ = ("_outer", "seen")

    def __init__(self) -> None:
        self.seen: bool = False
        self._outer: Rejections | None = None

    def enter(self) -> None:
        """Note rejections in this context, and in contexts copied from it, from now on."""
        self._outer = _rejections.get()
        _rejections.set(self)

    def leave(self) -> None:
        """Stop noting rejections."""
        _rejections.set(self._outer)
        self._outer = None

    def note(self) -> None:
        """Note a rejection, also for the requests that enclose this one."""
        request: Rejections | None = self
        while request is not None:
            request.seen = True
            request = request._outer


_rejections: Final[ContextVar[Rejections | None]] = ContextVar("atrion_rejections", default=None)


def note_rejection() -> None:
    """Note that a guarded call was shed in this context."""
    request = _rejections.get()
    if request is not None:
        request.note()
