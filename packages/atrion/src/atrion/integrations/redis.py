"""A guard for redis-py's clients, synchronous and asynchronous."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from inspect import iscoroutinefunction
from typing import Any, Unpack

from atrion.engine import Atrion
from atrion.errors import ConfigurationError
from atrion.integrations._missing import needs
from atrion.integrations._outgoing import ClientOptions, Clients

with needs("atrion.integrations.redis", "redis"):
    from redis.exceptions import DataError, NoScriptError, ResponseError, WatchError

__all__ = ["install"]

CALLERS = (DataError, NoScriptError, ResponseError, WatchError)
"""Errors that the command causes; Redis answers while it is loading, or out of memory, with others or these."""
FAULTS = ("OOM", "LOADING", "BUSY", "MISCONF", "MASTERDOWN", "CLUSTERDOWN", "READONLY", "TRYAGAIN")
"""Beginnings of replies that are Redis's own trouble."""
WAITING = frozenset(
    {
        "BLPOP",
        "BRPOP",
        "BLMOVE",
        "BRPOPLPUSH",
        "BLMPOP",
        "BZPOPMIN",
        "BZPOPMAX",
        "BZMPOP",
        "XREAD",
        "XREADGROUP",
        "WAIT",
        "WAITAOF",
        "MONITOR",
        "SUBSCRIBE",
        "PSUBSCRIBE",
        "SSUBSCRIBE",
    }
)
"""Commands that wait by intention, which are neither shed nor measured."""


def install(client: Any, atrion: Atrion, **options: Unpack[ClientOptions]) -> None:
    """Admit or shed the commands and pipelines of a ``redis.Redis``, ``redis.asyncio.Redis``, or one of a cluster.

    A shed command raises :class:`FlowRejected` before it is sent. Timeouts, lost connections and Redis's own trouble
    (out of memory, loading) are failures; errors of a command are the caller's fault. Commands that block by intention,
    such as ``BLPOP``, pass. Without a ``dependency`` the route is ``redis`` and the server's address.

    Raises:
        ConfigurationError: an option is unusable.
    """
    if not callable(getattr(client, "execute_command", None)):
        raise ConfigurationError("client", client, "give a redis.Redis or a redis.asyncio.Redis")
    clients = Clients(atrion, **options)
    host, port = _address(client)
    name = f"redis/{host}" if port is None else f"redis/{host}:{port}"

    @contextmanager
    def command(passes: bool) -> Iterator[None]:
        sent = None if passes else clients.begin(host, name=name)
        try:
            yield
        except BaseException as error:
            if sent is not None:
                sent.end(error, _callers(error))
            raise
        if sent is not None:
            sent.end()

    def guarded(send: Callable[..., Any], passes: Callable[..., bool]) -> Callable[..., Any]:
        if iscoroutinefunction(send):

            @wraps(send)
            async def send_async(*arguments: Any, **given: Any) -> Any:
                with command(passes(*arguments)):
                    return await send(*arguments, **given)

            return send_async

        @wraps(send)
        def send_now(*arguments: Any, **given: Any) -> Any:
            with command(passes(*arguments)):
                return send(*arguments, **given)

        return send_now

    make = client.pipeline

    @wraps(make)
    def pipeline(*arguments: Any, **given: Any) -> Any:
        made = make(*arguments, **given)
        made.execute = guarded(made.execute, lambda *rest: False)
        return made

    client.execute_command = guarded(client.execute_command, _waits)
    client.pipeline = pipeline


def _waits(command: object = "", *rest: object) -> bool:
    return str(command).partition(" ")[0].upper() in WAITING


def _callers(error: BaseException) -> tuple[type[BaseException], ...]:
    return () if str(error).startswith(FAULTS) else CALLERS


def _address(client: Any) -> tuple[str, int | None]:
    try:
        settings = client.get_connection_kwargs()
    except Exception:  # of a cluster's client, which has many
        settings = {}
    return str(settings.get("host") or settings.get("path") or "cluster"), settings.get("port")
