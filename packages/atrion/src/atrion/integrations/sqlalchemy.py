"""A guard for SQLAlchemy, by the events of an engine."""

from __future__ import annotations

from typing import Any, Unpack

from atrion.engine import Atrion
from atrion.errors import ConfigurationError
from atrion.integrations._missing import needs
from atrion.integrations._outgoing import ClientOptions, Clients, Sent

with needs("atrion.integrations.sqlalchemy", "sqlalchemy"):
    from sqlalchemy import Engine, event
    from sqlalchemy.exc import DataError, IntegrityError, NotSupportedError, ProgrammingError

__all__ = ["install"]

CALLERS = (DataError, IntegrityError, NotSupportedError, ProgrammingError)
"""Errors that the statement causes; a database that does not answer raises others."""
SENT = "atrion.sent"


def install(engine: Engine, atrion: Atrion, **options: Unpack[ClientOptions]) -> None:
    """Admit or shed the statements of an engine; of an ``AsyncEngine``, give its ``sync_engine``.

    A shed statement raises :class:`FlowRejected` before it is sent. Errors of the statement (syntax, constraints,
    values) are the caller's fault, and all others failures. Without a ``dependency`` the route is the kind of the
    database and its name, as ``postgresql/shop``.

    Raises:
        ConfigurationError: an option is unusable.
    """
    if not isinstance(engine, Engine):
        raise ConfigurationError(
            "engine", engine, "give a sqlalchemy.Engine, or an AsyncEngine's sync_engine"
        )
    clients = Clients(atrion, **options)
    name = f"{engine.url.get_backend_name()}/{engine.url.database or ''}"[:256]

    def before(conn: Any, cursor: Any, statement: Any, parameters: Any, context: Any, many: Any) -> None:
        sent = clients.begin(engine.url.host or "", name=name)
        if sent is not None:
            conn.info.setdefault(SENT, []).append(sent)

    def after(conn: Any, cursor: Any, statement: Any, parameters: Any, context: Any, many: Any) -> None:
        sent = _last(conn.info)
        if sent is not None:
            sent.end()

    def failed(context: Any) -> None:
        sent = None if context.connection is None else _last(context.connection.info)
        if sent is not None:
            sent.end(context.sqlalchemy_exception or context.original_exception, CALLERS)

    event.listen(engine, "before_cursor_execute", before)
    event.listen(engine, "after_cursor_execute", after)
    event.listen(engine, "handle_error", failed)
    event.listen(engine, "checkin", _returned)


def _last(info: dict[Any, Any]) -> Sent | None:
    stack: list[Sent] | None = info.get(SENT)
    return stack.pop() if stack else None


def _returned(dbapi_connection: Any, record: Any) -> None:
    """A connection goes back: a statement that was left in its middle, by a cancellation, has ended."""
    sent = _last(record.info)
    while sent is not None:
        sent.ignore()
        sent.end()
        sent = _last(record.info)
