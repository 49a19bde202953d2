"""A provider's licence while it runs: which key, how it stands, and what is logged about it, at most once a day."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping
from typing import Final

from atrion.errors import ConfigurationError
from atrion_cluster.licence.key import LicenseKey
from atrion_cluster.licence.keyring import VARIABLE as KEYRING_VARIABLE
from atrion_cluster.licence.keyring import read_keyring
from atrion_cluster.licence.reading import FIELD, read_license
from atrion_cluster.licence.secret import Secret, masked
from atrion_cluster.licence.status import LicenseState, LicenseStatus, status_of

__all__ = ["VARIABLE", "LicenseClock", "LicenseHolder", "LicenseWatch", "Notices"]

logger: logging.Logger = logging.getLogger("atrion.license")

VARIABLE: Final = "ATRION_LICENSE_KEY"
DAY: Final = 86_400.0
COUNT_SECONDS: Final = 3600.0
"""Seconds between two counts of the namespaces in a store."""


class LicenseClock:
    """The wall clock, except that it never goes back: a clock that is set back revives no licence."""

    def __init__(
        self, wall: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._latest = wall()
        self._at = monotonic()

    def now(self) -> float:
        """Seconds since 1970."""
        at = self._monotonic()
        self._latest = max(self._wall(), self._latest + max(at - self._at, 0.0))
        self._at = at
        return self._latest


class Notices:
    """Lets each kind of notice through once a day of ``now``."""

    def __init__(self) -> None:
        self._told: dict[tuple[str, ...], float] = {}

    def due(self, kind: tuple[str, ...], now: float, every: float = DAY) -> bool:
        """Whether the notice is due; if so it counts as given."""
        if now < self._told.get(kind, -every) + every:
            return False
        self._told[kind] = now
        return True


# Of the process: a second provider says nothing twice, and lives by the same time.
_CLOCK: Final = LicenseClock()
_NOTICES: Final = Notices()


class LicenseWatch:
    """The licence of one provider.

    Args:
        secret: The key given in code, or None for that of ``ATRION_LICENSE_KEY``, if there is one.
        environment: Where the variables are.
        clock: Tells the time.
        notices: What was logged already.

    Raises:
        ConfigurationError: the key is malformed, wrongly signed or not yet valid, or the keyring is unusable.
    """

    def __init__(
        self,
        secret: Secret | None = None,
        environment: Mapping[str, str] = os.environ,
        clock: LicenseClock = _CLOCK,
        notices: Notices = _NOTICES,
    ) -> None:
        self._environment = environment
        self._clock = clock
        self._notices = notices
        self._clusters: int | None = None
        self._count_at = 0.0
        self._revoked: frozenset[str] = frozenset()
        self.license: LicenseKey | None = None
        self.use(secret)

    def use(self, secret: Secret | None) -> None:
        """Take another key.

        Raises:
            ConfigurationError: as the constructor.
        """
        if _empty(secret):
            secret = Secret(self._environment.get(VARIABLE, ""))
        keyring = read_keyring(self._environment.get(KEYRING_VARIABLE))
        license = None if _empty(secret) or secret is None else read_license(secret, keyring)
        if license is not None and secret is not None and self._clock.now() < license.starts_at:
            shown = masked(secret.reveal())
            raise ConfigurationError(
                FIELD, shown, f"it is not valid before {license.not_before}; is this machine's clock right?"
            )
        self.license = license
        self._revoked = keyring.revoked

    def status(self) -> LicenseStatus:
        """How the licence stands now."""
        return status_of(self.license, self._clock.now(), self._clusters, self._revoked)

    def refusal(self, namespace: str) -> str:
        """Why a new namespace is not created."""
        return f"the namespace {namespace!r} is new and is not created; calls go on locally. {self.status().sentence}"

    @property
    def count_due(self) -> bool:
        """Whether the store's namespaces should be counted; asking takes two comparisons."""
        return time.monotonic() >= self._count_at

    def counting(self) -> None:
        """A count begins; the next is due in an hour, whatever becomes of this one."""
        self._count_at = time.monotonic() + COUNT_SECONDS

    def counted(self, clusters: int | None) -> None:
        """Take the number of namespaces in the store, None if it is unknown, and log what is to be said."""
        self._clusters = clusters
        status, now = self.status(), self._clock.now()
        whose = "" if self.license is None else self.license.id
        if status.state is LicenseState.EVALUATION:
            if self._notices.due((whose, status.state), now, every=float("inf")):
                logger.warning(status.sentence)
        elif (status.state is not LicenseState.ACTIVE or status.over_limit) and self._notices.due(
            (whose, status.state, str(status.over_limit)), now
        ):
            logger.warning(
                status.sentence, extra={"license_state": status.state.value, "license_clusters": clusters}
            )


class LicenseHolder:
    """Base of the providers that take a licence key."""

    _watch: LicenseWatch

    def use_license(self, license: str) -> None:
        """Take another licence key than that of the environment.

        Raises:
            ConfigurationError: it is malformed, wrongly signed or not yet valid.
        """
        self._watch.use(Secret(license))

    def license_status(self) -> LicenseStatus:
        """How the licence stands now."""
        return self._watch.status()


def _empty(secret: Secret | None) -> bool:
    text = None if secret is None else secret.reveal()
    return text is None or (isinstance(text, str) and not text.strip())
