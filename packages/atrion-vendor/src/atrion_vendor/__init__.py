"""Licence keys from the vendor's side: making key pairs, issuing and revoking."""

from __future__ import annotations

from atrion_vendor.issuing import issue
from atrion_vendor.keys import generate, read_private

__all__ = ["generate", "issue", "read_private"]
