"""The ``atrion-vendor`` command."""

from __future__ import annotations

import argparse
import json
import sys
import uuid
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path

from atrion.cli.parser import Parser, examples
from atrion.errors import AtrionError, ConfigurationError
from atrion_cluster.licence import LICENSE_TIERS, LicenseKey, Secret, read_license
from atrion_cluster.licence.key import LIMITS, claims_of, key_of
from atrion_cluster.licence.keyring import parse_keyring
from atrion_vendor.issuing import issue
from atrion_vendor.keyrings import add_key, read, revoke
from atrion_vendor.keys import generate, read_private

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status: 2 after a plain sentence for misuse."""
    arguments = _parser().parse_args(argv)
    try:
        return int(arguments.run(arguments))
    except AtrionError as error:
        print(f"atrion-vendor: {error}", file=sys.stderr)
        return 2 if isinstance(error, ConfigurationError) else 1


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="atrion-vendor", description="Licence keys from the vendor's side.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    making = commands.add_parser(
        "keygen",
        help="make a key pair",
        epilog=examples("atrion-vendor keygen --private v1.pem --id v1 --keyring keyring.json"),
    )
    making.add_argument("--private", required=True, type=Path, help="new file for the private key")
    making.add_argument("--id", required=True, help="the id by which keyrings and licences know the key")
    making.add_argument("--keyring", required=True, type=Path, help="keyring that the public key is added to")
    making.set_defaults(run=_keygen)
    issuing = commands.add_parser(
        "issue",
        help="sign a licence key",
        epilog=examples(
            'atrion-vendor issue --private v1.pem --id v1 --tier pro --customer "Example GmbH" --expires 2027-11-30'
        ),
    )
    issuing.add_argument("--private", required=True, help="file of the private key, or - for standard input")
    issuing.add_argument("--id", required=True, help="the private key's id")
    issuing.add_argument("--tier", required=True, choices=LICENSE_TIERS)
    issuing.add_argument("--customer", required=True, help="whose it is, at most 200 characters")
    issuing.add_argument("--expires", required=True, help="its last day, YYYY-MM-DD")
    issuing.add_argument("--not-before", help="its first day, YYYY-MM-DD (default: today in UTC)")
    issuing.add_argument("--limit", type=int, help="clusters it covers (default: the tier's)")
    issuing.add_argument(
        "--keyring", type=Path, help="keyring that must accept it: asks before a customer does"
    )
    issuing.set_defaults(run=_issue)
    listing = commands.add_parser(
        "revoke-list",
        help="print the revoked licences of a keyring, after adding some",
        epilog=examples("atrion-vendor revoke-list --keyring keyring.json --add LICENCE_ID"),
    )
    listing.add_argument("--keyring", required=True, type=Path, help="keyring that has them")
    listing.add_argument("--add", action="append", default=[], metavar="LICENCE_ID", help="revoke this one")
    listing.set_defaults(run=_revoke)
    return parser


def _keygen(arguments: argparse.Namespace) -> int:
    if any(key["kid"] == arguments.id for key in read(arguments.keyring)["keys"]):
        raise ConfigurationError("--id", arguments.id, "the keyring has this id already")
    key = generate(arguments.private)
    try:
        add_key(arguments.keyring, arguments.id, key)
    except BaseException:
        arguments.private.unlink()
        raise
    print(
        f"{arguments.private}: private key; {arguments.keyring}: public key {arguments.id}", file=sys.stderr
    )
    return 0


def _issue(arguments: argparse.Namespace) -> int:
    license = _license(arguments)
    text = issue(license, read_private(arguments.private))
    if arguments.keyring is not None:
        read_license(Secret(text), parse_keyring(json.dumps(read(arguments.keyring)).encode()))
    print(text)
    print(json.dumps(claims_of(license), ensure_ascii=False), file=sys.stderr)
    return 0


def _license(arguments: argparse.Namespace) -> LicenseKey:
    first = arguments.not_before or datetime.now(UTC).date().isoformat()
    for name, text in (("--not-before", first), ("--expires", arguments.expires)):
        try:
            date.fromisoformat(text)
        except ValueError:
            raise ConfigurationError(name, text, "give a day as YYYY-MM-DD") from None
    claims = {
        "id": uuid.uuid4().hex,
        "tier": arguments.tier,
        "limit": LIMITS[arguments.tier] if arguments.limit is None else arguments.limit,
        "customer": arguments.customer,
        "not_before": first,
        "expires": arguments.expires,
    }
    try:
        return key_of(claims, arguments.id)  # what is issued is what will be accepted
    except ValueError as error:
        raise ConfigurationError("issue", arguments.customer, str(error)) from None


def _revoke(arguments: argparse.Namespace) -> int:
    for each in revoke(arguments.keyring, arguments.add):
        print(each)
    return 0
