"""A real PostgreSQL, thrown away afterwards: on a free port of the loopback, in a temporary folder."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import psycopg

ROLE, PASSWORD, DATABASE = "atrion", "s3cret-of-the-tests", "atrion"
SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "40",
    "shared_buffers": "16MB",
    "log_min_messages": "fatal",
    "restart_after_crash": "off",
}


def binaries() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if not found:
        raise FileNotFoundError("PostgreSQL is missing; on Debian: apt-get install postgresql")
    return found[-1].parent


def somebody() -> dict[str, Any]:
    """Who runs the server, for :mod:`subprocess`: PostgreSQL refuses to be root."""
    if os.geteuid() != 0:
        return {}
    names = {entry.pw_name: entry for entry in pwd.getpwall()}
    entry = names.get("postgres") or names["nobody"]
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


class PostgresServer:
    """A server with one database and one role, ``atrion``."""

    def __init__(self) -> None:
        self._bin = binaries()
        self._somebody = somebody()
        self.folder = Path(tempfile.mkdtemp(prefix="atrion-postgres-"))
        if self._somebody:
            os.chown(self.folder, self._somebody["user"], self._somebody["group"])
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.database = DATABASE
        self.process: subprocess.Popen[bytes] | None = None
        secret = self.folder / "password"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        self._run("initdb", "-D", str(self.data), "-U", ROLE, "--pwfile", str(secret), "-A", "scram-sha-256",
                  "--no-sync", "-E", "UTF8", "--locale", "C")  # fmt: skip
        self.start()
        self.execute(f"CREATE DATABASE {DATABASE}", database="postgres")

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def _run(self, *command: str) -> None:
        done = subprocess.run(
            [str(self._bin / command[0]), *command[1:]],
            capture_output=True, text=True, cwd=self.folder, check=False, **self._somebody,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr

    def start(self) -> None:
        """Start, and return when it answers."""
        options = [part for name, value in SETTINGS.items() for part in ("-c", f"{name}={value}")]
        self.process = subprocess.Popen(
            [str(self._bin / "postgres"), "-D", str(self.data), "-p", str(self.port), *options],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=self.folder, **self._somebody,
        )  # fmt: skip
        ready = [str(self._bin / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        until = time.monotonic() + 30.0
        while subprocess.run(ready, check=False).returncode != 0:
            assert self.process.poll() is None, "the server ended while it was starting"
            assert time.monotonic() < until, "the server does not start"

    def family(self) -> list[int]:
        """The server and all its children."""
        assert self.process is not None
        found = [self.process.pid]
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = stat.read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == self.process.pid:
                found.append(int(stat.parent.name))
        return found

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the server and all its children."""
        for pid in self.family():
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                pass

    def kill(self) -> None:
        """As the machine's death would: no farewell."""
        if self.process is not None:
            family = self.family()
            self.signal(signal.SIGKILL)
            self.process.wait()
            self.process = None
            while any(Path(f"/proc/{pid}").exists() for pid in family):
                time.sleep(0.001)
        (self.data / "postmaster.pid").unlink(missing_ok=True)

    def heal(self) -> None:
        """Make it answer again, whatever was done to it."""
        if self.process is None or self.process.poll() is not None:
            self.kill()
            self.start()
        self.signal(signal.SIGCONT)

    def remove(self) -> None:
        self.kill()
        shutil.rmtree(self.folder)

    def url(
        self,
        *,
        user: str = ROLE,
        password: str = PASSWORD,
        port: int = 0,
        database: str | None = None,
        **options: object,
    ) -> str:
        query = "&".join(f"{name}={value}" for name, value in options.items())
        return f"postgresql://{user}:{password}@127.0.0.1:{port or self.port}/{database or self.database}" + (
            f"?{query}" if query else ""
        )

    def execute(self, text: str, *values: object, database: str | None = None) -> list[tuple[Any, ...]]:
        """Run a statement as the owner of everything."""
        where = {
            "host": "127.0.0.1",
            "port": self.port,
            "user": ROLE,
            "password": PASSWORD,
            "dbname": database or self.database,
        }
        with psycopg.connect(**where, autocommit=True) as connection:
            cursor = connection.execute(text, values)
            return cursor.fetchall() if cursor.description else []
