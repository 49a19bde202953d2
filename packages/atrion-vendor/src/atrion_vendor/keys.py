"""Private keys: written once for their owner alone, read from a file with checked modes or from standard input."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path
from typing import Final

from joserfc.errors import JoseError
from joserfc.jwk import OKPKey

from atrion.errors import ConfigurationError

__all__ = ["generate", "read_private"]

MAX_BYTES: Final = 10_000


def generate(path: Path) -> OKPKey:
    """A new key pair, its private key written to a new file that its owner alone may read.

    Raises:
        ConfigurationError: the file exists already or cannot be written.
    """
    key = OKPKey.generate_key("Ed25519")
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise ConfigurationError("--private", str(path), f"give a new file ({error.strerror})") from None
    with os.fdopen(descriptor, "wb") as file:
        file.write(key.as_pem(private=True))
        file.flush()
        os.fsync(file.fileno())
    return key


def read_private(source: str) -> OKPKey:
    """The private key of a PEM file, or of standard input where ``source`` is ``-``.

    Raises:
        ConfigurationError: others may read the file, or it is no private Ed25519 key.
    """
    data = sys.stdin.buffer.read(MAX_BYTES) if source == "-" else _read(source)
    try:
        key = OKPKey.import_key(data)
        usable = key.is_private and key.as_dict(private=False)["crv"] == "Ed25519"
    except (JoseError, ValueError, TypeError):
        usable, key = False, None
    if key is None or not usable:
        raise ConfigurationError(
            "--private", source, "it must be a private Ed25519 key in PEM, as keygen writes it"
        )
    return key


def _read(path: str) -> bytes:
    if "\n" in path:  # it is not shown
        raise ConfigurationError("--private", "…", "give the name of a file, not its content")
    try:
        # What is checked is what is read: the open file, not whatever has its name by then.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
    except OSError as error:
        raise ConfigurationError("--private", path, f"it cannot be opened ({error.strerror})") from None
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        os.close(descriptor)
        raise ConfigurationError("--private", path, "give a regular file")
    with os.fdopen(descriptor, "rb") as file:
        if os.name == "posix" and (found.st_uid != os.geteuid() or found.st_mode & 0o077):
            raise ConfigurationError(
                "--private", path, "it must be yours, and readable by nobody else: chmod 600"
            )
        return file.read(MAX_BYTES)
