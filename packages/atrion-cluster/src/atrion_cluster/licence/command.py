"""``atrion license``: whose licence it is, what it covers, until when, and why it is refused."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any, Final

from atrion.cli.parser import examples
from atrion.errors import ConfigurationError

__all__ = ["add_parser"]

MAX_BYTES: Final = 10_000


def add_parser(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "license",
        help="whose licence this is, what it covers and until when",
        description="The key is that of ATRION_LICENSE_KEY unless --file names another. It is never an argument, "
        "which other users of the machine could read.",
        epilog=examples("atrion license show", "atrion license verify --file license.txt --json"),
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, words in (
        ("show", "what the licence says; status 0 also without a key"),
        ("verify", "status 1 unless there is a key, it is genuine and in force (the grace period included)"),
    ):
        action = actions.add_parser(name, help=words, epilog=examples(f"atrion license {name} --json"))
        action.add_argument("--file", help="a file with the key, or - for standard input")
        action.add_argument("--json", action="store_true", help="print one JSON object")
        action.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """``atrion license show`` and ``atrion license verify``.

    Raises:
        ConfigurationError: the file or the keyring cannot be read.
    """
    import time  # here and below: a command's imports slow no other

    from atrion_cluster.licence.keyring import VARIABLE as KEYRING_VARIABLE
    from atrion_cluster.licence.keyring import read_keyring
    from atrion_cluster.licence.reading import read_license
    from atrion_cluster.licence.secret import Secret
    from atrion_cluster.licence.status import LicenseState, status_of
    from atrion_cluster.licence.watch import VARIABLE

    keyring = read_keyring(os.environ.get(KEYRING_VARIABLE))
    text = _read(arguments.file) if arguments.file else os.environ.get(VARIABLE, "")
    found: dict[str, Any]
    try:
        license = read_license(Secret(text), keyring) if text.strip() else None
    except ConfigurationError as error:
        found = {
            "genuine": False,
            "state": "refused",
            "sentence": f"The licence key is refused: {error.cure}.",
        }
        usable = False
    else:
        status = status_of(license, time.time(), revoked=keyring.revoked)
        found = {"genuine": license is not None, **status.as_dict()}
        if license is not None:
            found |= {
                "id": license.id,
                "key_id": license.key_id,
                "not_before": license.not_before.isoformat(),
            }
        del found["clusters"], found["over_limit"]  # only a provider knows its store
        usable = status.state in {LicenseState.ACTIVE, LicenseState.EXPIRING, LicenseState.GRACE}
    print(json.dumps(found, ensure_ascii=False) if arguments.json else _page(found))
    if arguments.action == "verify":
        return 0 if usable else 1
    return 1 if found["state"] == "refused" else 0


def _read(source: str) -> str:
    try:
        if source == "-":
            data = sys.stdin.buffer.read(MAX_BYTES)
        else:
            with Path(source).open("rb") as file:
                data = file.read(MAX_BYTES)
    except OSError as error:
        raise ConfigurationError("--file", source, f"it cannot be read ({error.strerror})") from None
    return data.decode("ascii", "replace")


def _page(found: dict[str, Any]) -> str:
    """The licence as a person reads it."""
    lines = [str(found["sentence"])]
    if "id" in found:
        limit = found["limit"]
        rows = {
            "customer": found["customer"],
            "tier": found["tier"],
            "clusters": "unlimited" if limit is None else limit,
            "valid": f"{found['not_before']} to {found['expires']}",
            "licence": f"{found['id']}, signed with {found['key_id']}",
        }
        lines += [f"  {name:<9} {value}" for name, value in rows.items()]
    return "\n".join(lines)
