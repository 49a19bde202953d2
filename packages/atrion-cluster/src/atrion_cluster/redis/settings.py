"""Settings of the Redis provider, from a URL or dictionaries, validated, and shown without secrets."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal
from urllib.parse import parse_qsl, unquote, urlsplit

from atrion.errors import ConfigurationError
from atrion.physics.config import check_number

__all__ = ["Address", "RedisSettings", "settings_from", "settings_from_url"]

Address = tuple[str, int]
Topology = Literal["standalone", "sentinel", "cluster"]

SCHEMES: Final[Mapping[str, Topology]] = {
    "redis": "standalone",
    "rediss": "standalone",
    "redis+sentinel": "sentinel",
    "rediss+sentinel": "sentinel",
    "redis+cluster": "cluster",
    "rediss+cluster": "cluster",
}
_TLS: Final = ("ssl_ca_certs", "ssl_cert_reqs", "ssl_certfile", "ssl_check_hostname", "ssl_keyfile")
_STORE: Final = (
    "username",
    "password",
    "db",
    "sentinel_username",
    "sentinel_password",
    "shards",
    "timeout",
    *_TLS,
)
_SYNC: Final[tuple[str, ...]] = ("interval", "channel")
_OWN: Final[tuple[str, ...]] = ("namespace", "gamma", *_SYNC)
_HOST = re.compile(r"(?:\[(?P<six>[0-9a-fA-F:.]+)\]|(?P<name>[^:\[\]]+))(?::(?P<port>\d{1,5}))?")
_NAME = re.compile(r"[a-z_]{1,32}")
_NAMESPACE = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_CHANNEL = re.compile(r"[\x21-\x7e]{1,128}")
_FORM = (
    "give redis://host:6379/0, rediss://… for TLS, redis+sentinel://host:26379,host:26379/service/0 "
    "or redis+cluster://host:6379,host:6379"
)


@dataclass(frozen=True, slots=True)
class _Place:
    topology: Topology
    addresses: tuple[Address, ...]
    service: str
    tls: bool


@dataclass(frozen=True, slots=True)
class RedisSettings:
    """Servers, credentials and synchronisation; passwords are not in the repr."""

    topology: Topology
    addresses: tuple[Address, ...]
    service: str
    db: int
    tls: bool
    namespace: str
    channel: str
    interval: float
    gamma: float
    timeout: float
    shards: int
    tls_options: Mapping[str, Any] = field(default_factory=dict)
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    sentinel_username: str | None = None
    sentinel_password: str | None = field(default=None, repr=False)

    def credentials(self, sentinel: bool) -> dict[str, Any]:
        """The credentials of a connection."""
        if sentinel:
            return {"username": self.sentinel_username, "password": self.sentinel_password}
        return {"username": self.username, "password": self.password, "db": self.db}


def settings_from_url(url: str) -> RedisSettings:
    """Settings of a URL whose query may also have ``namespace``, ``gamma``, ``interval`` and ``channel``.

    Raises:
        ConfigurationError: a part of it is unknown or invalid.
    """
    place, store = _read_url(url)
    own = {name: store.pop(name) for name in _OWN if name in store}
    sync = {name: own[name] for name in _SYNC if name in own}
    return _settings(place, store, sync, own.get("gamma", 0.3), own.get("namespace", "atrion"), text=True)


def settings_from(redis: Any, sync: Any, gamma: Any, namespace: Any) -> RedisSettings:
    """Settings of the constructor's arguments (RFC-0007 §7.1).

    Raises:
        ConfigurationError: an argument is unknown or invalid.
    """
    url: object = redis.get("url") if isinstance(redis, Mapping) else None
    if not isinstance(url, str):
        raise ConfigurationError("redis", _shown(redis), 'give {"url": "redis://…"}')
    if sync is not None and not isinstance(sync, Mapping):
        raise ConfigurationError("sync", sync, 'give {"interval": 0.1, "channel": "atrion:sync"}')
    place, store = _read_url(url)
    for name in _OWN:
        if name in store:
            raise ConfigurationError("redis.url", name, "set it in the constructor, or use from_url")
    given = {name: value for name, value in redis.items() if name != "url"}
    return _settings(place, store | given, dict(sync or {}), gamma, namespace, text=False)


def _shown(redis: object) -> object:
    return sorted(map(str, redis)) if isinstance(redis, Mapping) else type(redis)


def _settings(
    place: _Place, store: dict[str, Any], sync: dict[str, Any], gamma: Any, namespace: Any, *, text: bool
) -> RedisSettings:
    for where, given, known in (("redis", store, _STORE), ("sync", sync, _SYNC)):
        for name in given:
            if name not in known:
                raise ConfigurationError(where, name, f"the known keys are {', '.join(known)}")
    topology = place.topology
    if not isinstance(namespace, str) or _NAMESPACE.fullmatch(namespace) is None:
        raise ConfigurationError(
            "namespace", namespace, "give 1 to 64 letters, digits, dots, dashes or underscores"
        )
    channel = sync.get("channel", f"{namespace}:sync")
    if not isinstance(channel, str) or _CHANNEL.fullmatch(channel) is None:
        raise ConfigurationError("sync.channel", channel, "give 1 to 128 printable characters without spaces")
    interval = _number("sync.interval", sync.get("interval", 0.1), 0.001, 3600.0)
    shards = _whole("redis.shards", store.get("shards", 6 if topology == "cluster" else 1), 1, 1024)
    if shards > 1 and topology != "cluster":
        raise ConfigurationError("redis.shards", shards, "only a cluster has several; use redis+cluster://…")
    db = _whole("redis.db", store.get("db", 0), 0, 1_000_000)
    if db and topology == "cluster":
        raise ConfigurationError("redis.db", db, "a cluster has database 0 alone")
    for name in ("username", "password", "sentinel_username", "sentinel_password"):
        if not isinstance(store.get(name), (str, type(None))):
            raise ConfigurationError(f"redis.{name}", type(store[name]), "give a string")
    return RedisSettings(
        topology,
        place.addresses,
        place.service,
        db,
        place.tls,
        namespace,
        channel,
        interval,
        _number("gamma", gamma, 0.0, 1.0, text=text),
        _number("redis.timeout", store.get("timeout", 0.4), 0.01, 60.0),
        shards,
        _tls_options(store, place.tls),
        store.get("username"),
        store.get("password"),
        store.get("sentinel_username"),
        store.get("sentinel_password"),
    )


def _number(name: str, value: Any, low: float, high: float, *, text: bool = True) -> float:
    if text and isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            pass
    check_number(name, value, low, high)
    return float(value)


def _whole(name: str, value: Any, low: int, high: int) -> int:
    if isinstance(value, str) and value.isdecimal() and len(value) < 10:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ConfigurationError(name, value, f"give a whole number from {low} to {high}")
    return value


def _tls_options(store: Mapping[str, Any], tls: bool) -> dict[str, Any]:
    found = {name: store[name] for name in _TLS if name in store}
    if found and not tls:
        raise ConfigurationError(
            f"redis.{next(iter(found))}", next(iter(found.values())), "it needs rediss://…"
        )
    check = found.get("ssl_check_hostname", True)
    if isinstance(check, str):
        check = {"true": True, "1": True, "false": False, "0": False}.get(check.lower(), check)
    if not isinstance(check, bool):
        raise ConfigurationError("redis.ssl_check_hostname", check, "give true or false")
    required = found.get("ssl_cert_reqs", "required")
    if required not in {"required", "none"}:
        raise ConfigurationError("redis.ssl_cert_reqs", required, "give required or none")
    for name in ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile"):
        if not isinstance(found.get(name, ""), str):
            raise ConfigurationError(f"redis.{name}", found[name], "give the path of a PEM file")
    return found | ({"ssl_check_hostname": check, "ssl_cert_reqs": required} if tls else {})


# --- URLs ----------------------------------------------------------------------------------------------------


def _read_url(url: str) -> tuple[_Place, dict[str, Any]]:
    """The parts of a URL; errors show only scheme and hosts."""
    scheme, _, rest = url.partition("://")
    if scheme not in SCHEMES:
        raise ConfigurationError("redis.url", f"{scheme[:20]}://…", _FORM)
    try:
        parts = urlsplit("//" + rest)
        pairs = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:
        raise ConfigurationError("redis.url", f"{scheme}://…", _FORM) from None
    login, _, hosts = parts.netloc.rpartition("@")
    username, _, password = login.partition(":")
    topology = SCHEMES[scheme]
    shown = f"{scheme}://{hosts}"
    if "@" in parts.path or parts.fragment:
        raise ConfigurationError("redis.url", f"{scheme}://…", "percent-encode /, ?, # and @ in the password")
    path = [unquote(part) for part in parts.path.split("/") if part]
    service = ""
    if topology == "sentinel":
        if not path:
            raise ConfigurationError(
                "redis.url", shown, f"name the service that the sentinels watch; {_FORM}"
            )
        service = path.pop(0)
    if len(path) > 1 or (path and not path[0].isdecimal()):
        raise ConfigurationError("redis.url", shown, f"after the hosts comes a database number; {_FORM}")
    default_port = 26379 if topology == "sentinel" else 6379
    addresses = tuple(_address(host, shown, default_port) for host in hosts.split(","))
    if topology == "standalone" and len(addresses) > 1:
        raise ConfigurationError(
            "redis.url", shown, "several hosts need redis+sentinel:// or redis+cluster://"
        )
    store: dict[str, Any] = {}
    for name, value in pairs:
        if name in store or name not in (*_STORE, *_OWN):
            shown = (
                name if _NAME.fullmatch(name) else "…"
            )  # part of a password that contains a ? may end up here
            raise ConfigurationError(
                "redis.url", shown, f"the known parameters are {', '.join((*_STORE, *_OWN))}, once"
            )
        store[name] = value
    if username:
        store["username"] = unquote(username)
    if password:
        store["password"] = unquote(password)
    if path:
        store["db"] = path[0]
    return _Place(topology, addresses, service, scheme.startswith("rediss")), store


def _address(host: str, shown: str, default_port: int) -> Address:
    if not host:
        return "localhost", default_port
    found = _HOST.fullmatch(host)
    port = int(found["port"] or default_port) if found else 0
    if found is None or not 0 < port < 65536:
        raise ConfigurationError(
            "redis.url", shown.partition("//")[0] + "//…", f"each host is name:port; {_FORM}"
        )
    return found["six"] or found["name"], port
