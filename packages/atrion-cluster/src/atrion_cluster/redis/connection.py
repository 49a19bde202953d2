"""One connection to one server: bounded in time, without automatic retries, closed on any error.

redis-py's pools and clients reconnect and retry by themselves, which would hide from this node that a server was
restarted or replaced, and could outlast the pulse's deadline. So its :class:`~redis.asyncio.Connection` is used alone.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from hashlib import sha256
from importlib.resources import files
from ssl import SSLContext
from typing import Any, Protocol

from redis.asyncio import Connection, SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AskError,
    ClusterDownError,
    MasterDownError,
    NoPermissionError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)

from atrion.errors import ConfigurationError, ProviderError
from atrion.state import blending
from atrion_cluster.redis.driver import detach, end_transport, streams_of
from atrion_cluster.redis.settings import Address, RedisSettings

__all__ = ["ServerConnection", "function_names", "library", "tls_context"]

Command = Sequence[bytes | str | int | float]
PARTS = ("records", "shard", "functions")
CONSTANTS = ("EVIDENCE_CAP", "EVIDENCE_SECONDS", "LIVE_EVIDENCE", "SCAR_CAP", "JUMP", "EXPIRY")
FUNCTIONS = ("exchange", "recall", "update", "vector", "audit")


@cache
def library() -> tuple[str, str]:
    """The functions' source, and the digest that names this version of them."""
    folder = files("atrion_cluster.redis").joinpath("lua")
    source = "\n".join(folder.joinpath(f"{part}.lua").read_text("utf-8") for part in PARTS)
    for name in CONSTANTS:
        source = source.replace(f"@{name}@", repr(float(getattr(blending, name))))
    digest = sha256(source.encode()).hexdigest()[:12]
    return f"#!lua name=atrion_{digest}\n{source.replace('@digest@', digest)}", digest


@cache
def function_names() -> dict[str, str]:
    """The name in the server of each function."""
    return {name: f"atrion_{name}_{library()[1]}" for name in FUNCTIONS}


ELSEWHERE = (AskError, ClusterDownError, MasterDownError, ReadOnlyError, TryAgainError)
"""Errors of a server that is not the master, which has to be looked up again. (A moved slot is an AskError.)"""


class TlsContext(Protocol):
    """The TLS context in the form that redis-py expects."""

    def get(self) -> SSLContext:
        """The context."""
        ...


def tls_context(settings: RedisSettings) -> TlsContext | None:
    """The TLS context, or None without TLS. It reads files, so it is created once and not during a pulse.

    Raises:
        ConfigurationError: a file cannot be read or is no certificate.
    """
    if not settings.tls:
        return None
    context: TlsContext = SSLConnection(**settings.tls_options).ssl_context
    try:
        context.get()
    except (OSError, ValueError) as error:
        given = {
            name: value for name, value in settings.tls_options.items() if name.endswith(("file", "certs"))
        }
        cure = f"give PEM files that can be read ({error})"
        raise ConfigurationError("redis.ssl_ca_certs or ssl_certfile", given, cure) from error
    return context


class ServerConnection:
    """A connection and its lock; used by one event loop of one process.

    Args:
        address: Host and port.
        settings: Login and the seconds that one round trip may take.
        tls: The TLS context, created once for all connections.
        sentinel: Whether the server is a sentinel, which has separate credentials.
    """

    def __init__(
        self,
        address: Address,
        settings: RedisSettings,
        tls: TlsContext | None = None,
        *,
        sentinel: bool = False,
    ) -> None:
        self.address = address
        self.timeout = settings.timeout
        self._lock = asyncio.Lock()
        options: dict[str, Any] = dict(
            host=address[0],
            port=address[1],
            protocol=2,
            retry=Retry(NoBackoff(), 0),
            socket_timeout=None,  # one clock for a whole round trip, below
            socket_connect_timeout=settings.timeout,
            **settings.credentials(sentinel),
        )
        self._connection: Any
        if tls is None:
            self._connection = Connection(**options)
        else:
            self._connection = SSLConnection(**options)
            self._connection.ssl_context = tls
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    def __repr__(self) -> str:
        return f"<ServerConnection to {self.where}>"

    @property
    def where(self) -> str:
        """Host and port, for messages."""
        return f"{self.address[0]}:{self.address[1]}"

    @property
    def open(self) -> bool:
        """Whether the connection is open, as far as is known."""
        return self._reader is not None and not self._reader.at_eof()

    async def connect(self) -> None:
        """Open it and log in.

        Raises:
            ProviderError: the server cannot be reached or refuses.
        """
        await self._bounded(self._connection.connect())
        # redis-py drops them if it disconnects without waiting.
        self._reader, self._writer = streams_of(self._connection)

    async def load(self) -> None:
        """Load the functions into the server, unless it has them.

        Raises:
            ProviderError: the connection failed, or the server wants another login or is not ready.
        """
        # A server closes the connection on a long command before the login; a short one returns the error.
        (pong,) = await self.ask(("PING",))
        if isinstance(pong, ResponseError) and not isinstance(pong, NoPermissionError):
            self.close()
            raise ProviderError(f"{self.where} refuses: {pong}") from pong
        # A refusal shows with the first call, since an operator may have loaded the functions.
        await self.ask(("FUNCTION", "LOAD", library()[0]))

    async def ask(self, *commands: Command) -> list[Any]:
        """The answers to ``commands`` in one round trip; an error of the server is an answer, too.

        Raises:
            ProviderError: no answer in time, or the connection failed; the connection is closed then.
        """
        async with self._lock:
            if not self.open:
                raise ProviderError(f"the connection to {self.where} is closed")
            answers: list[Any] = await self._bounded(self._exchange(commands))
            return answers

    async def call(self, function: str, keys: Sequence[bytes], *batches: Command) -> list[Any]:
        """Call a function once for each of ``batches``, in one round trip.

        Raises:
            ProviderError: as for :meth:`ask`, or the server refuses.
        """
        return await self.call_each(function, [(keys, batch) for batch in batches])

    async def call_each(self, function: str, calls: Sequence[tuple[Sequence[bytes], Command]]) -> list[Any]:
        """Call a function for each pair of keys and arguments, in one round trip.

        Raises:
            ProviderError: as for :meth:`ask`, or the server refuses.
        """
        name = function_names()[function]
        commands: list[Command] = [("FCALL", name, len(keys), *keys, *given) for keys, given in calls]
        answers = await self.ask(*commands)
        if any(
            isinstance(answer, ResponseError) and "Function not found" in str(answer) for answer in answers
        ):
            loaded = (await self.ask(("FUNCTION", "LOAD", library()[0])))[0]
            if isinstance(loaded, ResponseError) and "already exists" not in str(loaded):
                raise ProviderError(f"{self.where} does not take Atrion's functions: {loaded}") from loaded
            answers = await self.ask(*commands)
        for (keys, _), answer in zip(calls, answers, strict=True):
            if isinstance(answer, ResponseError):
                if "WRONGTYPE" in str(answer):  # the keys have data of another type; they are deleted
                    await self.ask(("DEL", *keys))
                if isinstance(answer, ELSEWHERE):
                    self.close()
                raise ProviderError(f"{self.where} refuses: {answer}") from answer
        return answers

    async def send(self, *command: bytes | str) -> None:
        """Send a command whose answer :meth:`listen` will read.

        Raises:
            ProviderError: the connection failed; the connection is closed then.
        """
        await self._bounded(self._connection.send_command(*command, check_health=False))

    async def listen(self, patience: float) -> Any:
        """The next answer, or None after ``patience`` seconds without one.

        Raises:
            ProviderError: the connection failed; the connection is closed then.
        """
        return await self._bounded(self._connection.read_response(timeout=patience), patience + self.timeout)

    async def _exchange(self, commands: Sequence[Command]) -> list[Any]:
        await self._connection.send_packed_command(
            self._connection.pack_commands(commands), check_health=False
        )
        answers: list[Any] = []
        for _ in commands:
            try:
                answers.append(await self._connection.read_response(disconnect_on_error=False))
            except ResponseError as error:
                answers.append(error)
        return answers

    async def _bounded(self, work: Any, seconds: float | None = None) -> Any:
        limit = self.timeout if seconds is None else seconds
        try:
            async with asyncio.timeout(limit):
                return await work
        except TimeoutError:
            self.close()
            raise ProviderError(f"{self.where} did not answer within {limit:g} s") from None
        except (RedisError, OSError, ValueError) as error:
            self.close()
            raise ProviderError(f"{self.where}: {error}") from error
        except BaseException:
            self.close()  # part of an answer may still arrive, and the next command would read it
            raise

    def close(self) -> None:
        """Drop the connection at once; closing it properly would wait for a hung server."""
        writer = self._detach()
        if writer is not None:
            with suppress(RuntimeError):  # its loop is closed
                writer.transport.abort()

    def _detach(self) -> asyncio.StreamWriter | None:
        """Detach the streams from the connection; returns the transport to be closed."""
        writer = self._writer or streams_of(self._connection)[1]
        self._reader = None
        detach(self._connection)
        return writer

    def abandon(self, loop: asyncio.AbstractEventLoop) -> None:
        """Release a connection of a closed loop or of a parent process.

        A closed loop will never end its transports, so they are ended here. A parent's loop must not be touched: its
        selector is shared with the child. There the descriptor is pointed at nothing instead, in this process alone.
        """
        writer = self._detach()
        sock = None if writer is None else writer.get_extra_info("socket")
        if writer is None or sock is None or sock.fileno() < 0:
            return
        if loop.is_closed():
            end_transport(writer.transport)
        else:
            nothing = os.open(os.devnull, os.O_RDWR)
            try:
                os.dup2(nothing, sock.fileno())
            finally:
                os.close(nothing)
