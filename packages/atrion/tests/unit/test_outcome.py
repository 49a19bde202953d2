"""Whose fault an exception is, with the exceptions of real frameworks."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import urllib.error
from collections.abc import Callable
from contextlib import suppress
from email.message import Message
from types import SimpleNamespace
from unittest.mock import Mock

import aiohttp.web
import django.core.exceptions
import django.http
import fastapi
import httpx
import pytest
import starlette.exceptions
import werkzeug.exceptions

from atrion import Atrion, FlowRejected, Outcome, PhysicsVector
from atrion.control.outcome import outcome_of
from atrion.testing import VirtualClock


def from_httpx(status: int) -> Exception:
    request = httpx.Request("GET", "http://x")
    with pytest.raises(httpx.HTTPStatusError) as caught:
        httpx.Response(status, request=request).raise_for_status()
    return caught.value


class RestFramework(Exception):
    """As Django REST framework has them."""

    status_code = 404


class Inherited(werkzeug.exceptions.NotFound):
    pass


CALLERS: list[Exception] = [
    starlette.exceptions.HTTPException(404),
    fastapi.HTTPException(422),
    werkzeug.exceptions.NotFound(),
    werkzeug.exceptions.TooManyRequests(),
    Inherited(),
    aiohttp.web.HTTPForbidden(),
    aiohttp.web.HTTPFound("/elsewhere"),
    aiohttp.ClientResponseError(Mock(), (), status=409),
    from_httpx(401),
    urllib.error.HTTPError("http://x", 410, "Gone", Message(), None),
    django.http.Http404(),
    django.core.exceptions.PermissionDenied(),
    django.core.exceptions.RequestDataTooBig(),
    django.core.exceptions.BadRequest(),
    RestFramework(),
    FlowRejected(None),
]


class Odd(Exception):
    """Attributes by the same names that are no HTTP statuses."""

    def __init__(self, **attributes: object) -> None:
        self.__dict__.update(attributes)


class Explosive(Exception):
    @property
    def status_code(self) -> int:
        raise RuntimeError("no status yet")


FAILURES: list[Exception] = [
    ConnectionError(),
    TimeoutError(),
    starlette.exceptions.HTTPException(500),
    werkzeug.exceptions.BadGateway(),
    aiohttp.web.HTTPServiceUnavailable(),
    from_httpx(503),
    httpx.ConnectError("refused"),
    urllib.error.URLError("unreachable"),
    django.core.exceptions.ImproperlyConfigured(),
    Odd(code=112),  # a database's own number
    Odd(status="404 Not Found"),
    Odd(status_code=True),
    Odd(status=-1),
    Odd(response=SimpleNamespace(status_code=None)),
    Explosive(),
]


@pytest.mark.parametrize("error", CALLERS, ids=lambda error: type(error).__name__)
def test_what_is_answered_below_500_is_the_callers_fault(error: Exception) -> None:
    assert outcome_of(error) == Outcome.IGNORED


@pytest.mark.parametrize("error", FAILURES, ids=lambda error: type(error).__name__)
def test_everything_else_is_a_failure(error: Exception) -> None:
    assert outcome_of(error) == Outcome.FAILURE


GONE = asyncio.CancelledError()
SHED = FlowRejected(None)
FAILED = ConnectionError()
NOT_FOUND = starlette.exceptions.HTTPException(404)


@pytest.mark.parametrize(
    "errors, outcome",
    [
        ([SHED], Outcome.IGNORED),
        ([SHED, SHED], Outcome.IGNORED),
        ([BaseExceptionGroup("inner", [SHED]), NOT_FOUND], Outcome.IGNORED),
        ([SHED, FAILED], Outcome.FAILURE),
        ([BaseExceptionGroup("inner", [SHED, FAILED]), SHED], Outcome.FAILURE),
        ([GONE, SHED], Outcome.DROPPED),
        ([GONE, FAILED], Outcome.FAILURE),
        ([KeyboardInterrupt()], Outcome.IGNORED),
    ],
)
def test_a_group_is_as_bad_as_the_worst_in_it(errors: list[BaseException], outcome: Outcome) -> None:
    assert outcome_of(BaseExceptionGroup("group", errors)) == outcome


def caught(raising: Callable[[], None]) -> BaseException:
    try:
        raising()
    except Exception as error:
        return error
    raise AssertionError


def explained() -> None:
    try:
        raise SHED
    except FlowRejected as error:
        raise RuntimeError("busy") from error


def explained_twice() -> None:
    try:
        explained()
    except RuntimeError as error:
        raise LookupError from error


def answered() -> None:
    try:
        raise SHED
    except FlowRejected:
        raise starlette.exceptions.HTTPException(503)  # noqa: B904  # as one writes it


def fallback_failed() -> None:
    try:
        raise SHED
    except FlowRejected:
        raise ConnectionError  # noqa: B904  # as it happens


def crashed() -> None:
    try:
        raise SHED
    except FlowRejected:
        raise starlette.exceptions.HTTPException(500)  # noqa: B904  # as above


def unavailable_for_another_reason() -> None:
    try:
        raise KeyError
    except KeyError:
        raise starlette.exceptions.HTTPException(503)  # noqa: B904  # as above


@pytest.mark.parametrize(
    "raising, outcome",
    [
        (explained, Outcome.IGNORED),
        (explained_twice, Outcome.IGNORED),
        (answered, Outcome.IGNORED),
        (fallback_failed, Outcome.FAILURE),
        (crashed, Outcome.FAILURE),
        (unavailable_for_another_reason, Outcome.FAILURE),
    ],
)
def test_what_is_made_of_a_rejection(raising: Callable[[], None], outcome: Outcome) -> None:
    assert outcome_of(caught(raising)) == outcome


def test_a_chain_of_causes_that_is_a_circle_ends() -> None:
    first, second = RuntimeError(), RuntimeError()
    first.__cause__, second.__cause__ = second, first
    assert outcome_of(first) == Outcome.FAILURE


class Scanner:
    """Calls that all end with one exception, on a fresh engine."""

    def __init__(self, error: BaseException) -> None:
        self.clock = VirtualClock()
        self.engine = Atrion(clock=self.clock)
        self.error = error

    def sheds(self) -> bool:
        @self.engine.protect("r")
        def call() -> None:
            raise self.error

        for _ in range(60):
            self.clock.advance(0.05)
            try:
                call()
            except FlowRejected as rejection:
                if rejection is not self.error:
                    return True
            except BaseException as raised:
                if raised is not self.error:
                    raise
        return False


@pytest.mark.parametrize("error", [NOT_FOUND, SHED, ExceptionGroup("group", [SHED]), caught(answered)])
def test_nobody_is_shed_for_what_is_nobodys_fault(error: BaseException) -> None:
    assert not Scanner(error).sheds()


def test_a_failure_is_noticed_all_the_same() -> None:
    assert Scanner(ConnectionError()).sheds()
    assert Scanner(ExceptionGroup("group", [SHED, ConnectionError()])).sheds()


def test_guards_within_guards_pass_a_rejection_on_without_blame(engine: Atrion, clock: VirtualClock) -> None:
    @engine.protect("outer")
    @engine.protect("middle")
    async def call() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(inner())

    @engine.protect("inner", tier="bulk")
    async def inner() -> None:
        raise NOT_FOUND  # a probe that proves nothing

    async def main() -> None:
        for _ in range(60):
            engine.restore("inner", PhysicsVector(0.0, 0.0, 150.0, 0.0))
            clock.advance(0.05)
            with suppress(ExceptionGroup):
                await call()

    asyncio.run(main())
    seen = engine.snapshot()
    assert seen["inner"].shed > 50
    for route in ("outer", "middle"):
        assert (seen[route].shed, seen[route].pressure_error, seen[route].in_flight) == (0, 0.0, 0)


def test_no_framework_is_imported_to_judge() -> None:
    program = (
        "import sys; from atrion import Atrion\n"
        "@Atrion().protect\ndef call(): raise OSError\n"
        "try: call()\nexcept OSError: pass\n"
        "assert not {'trio', 'gevent', 'greenlet', 'django', 'starlette'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60.0)
