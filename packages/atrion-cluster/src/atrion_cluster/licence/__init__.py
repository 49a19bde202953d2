"""Licence keys: read and checked offline, and never the reason for an outage.

Studio and metrics need only :class:`LicenseStatus`; ``provider.license_status()`` gives it.
"""

from __future__ import annotations

from atrion_cluster.licence.key import LICENSE_TIERS, LicenseKey, LicenseTier
from atrion_cluster.licence.keyring import Keyring, shipped_keyring
from atrion_cluster.licence.reading import read_license
from atrion_cluster.licence.secret import Secret
from atrion_cluster.licence.status import LicenseState, LicenseStatus, status_of
from atrion_cluster.licence.watch import LicenseHolder, LicenseWatch

__all__ = [
    "LICENSE_TIERS",
    "Keyring",
    "LicenseHolder",
    "LicenseKey",
    "LicenseState",
    "LicenseStatus",
    "LicenseTier",
    "LicenseWatch",
    "Secret",
    "read_license",
    "shipped_keyring",
    "status_of",
]
