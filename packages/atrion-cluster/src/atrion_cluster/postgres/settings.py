"""Settings of the PostgreSQL adapter, validated, and shown without secrets."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from atrion.errors import ConfigurationError
from atrion.physics.config import check_number

__all__ = ["PostgresSettings", "settings_from", "split_url"]

SCHEMES: Final = ("postgresql", "postgres")
OWN: Final = ("namespace", "history", "forget_after", "deadline")
_NAMESPACE = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_FORM = "give postgresql://user:password@host:5432/database"


@dataclass(frozen=True, slots=True)
class PostgresSettings:
    """The server and what to store; the password is not in the repr."""

    conninfo: str = field(repr=False)
    where: str
    namespace: str
    history: float
    forget_after: float
    deadline: float

    @property
    def channel(self) -> str:
        """The notification channel of this namespace."""
        return "atrion_" + hashlib.blake2b(self.namespace.encode(), digest_size=8).hexdigest()


def split_url(url: str) -> tuple[str, dict[str, str]]:
    """A URL for libpq, and those of its options that are ours.

    Raises:
        ConfigurationError: it is no URL.
    """
    try:
        parts = urlsplit(url)
        query = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:
        raise ConfigurationError("url", "postgresql://…", _FORM) from None
    own = {name: value for name, value in query if name in OWN}
    theirs = urlencode([(name, value) for name, value in query if name not in OWN])
    return urlunsplit(parts._replace(scheme="postgresql", query=theirs)), own


def settings_from(
    url: object, namespace: object, history: float, forget_after: float, deadline: float
) -> PostgresSettings:
    """Checked settings.

    Raises:
        ConfigurationError: a setting is invalid.
    """
    if not isinstance(url, str) or url.partition(":")[0] not in SCHEMES:
        raise ConfigurationError(
            "url", type(url) if not isinstance(url, str) else url.partition(":")[0], _FORM
        )
    try:
        given = conninfo_to_dict(url)
    except psycopg.Error:  # its message may contain the password
        raise ConfigurationError("url", "postgresql://…", f"it cannot be read: {_FORM}") from None
    if not isinstance(namespace, str) or not _NAMESPACE.fullmatch(namespace):
        raise ConfigurationError(
            "namespace", namespace, "give 1 to 64 letters, digits, dots, dashes or underscores"
        )
    check_number("history", history, 0.0, 1e9)
    check_number("forget_after", forget_after, 60.0, 1e9)
    check_number("deadline", deadline, 0.0, 60.0, above=True)
    # Detects a network that drops packets on connections that only listen.
    quick = {
        "tcp_user_timeout": 10_000,
        "keepalives_idle": 5,
        "keepalives_interval": 5,
        "keepalives_count": 2,
    }
    conninfo = make_conninfo("", **{**quick, **given})
    host, port = given.get("host", "the local socket"), given.get("port", 5432)
    where = f"PostgreSQL at {host}:{port}, database {given.get('dbname', 'of the user')}"
    return PostgresSettings(conninfo, where, namespace, float(history), float(forget_after), float(deadline))
