"""Who may look: a token, the cookie that stands for it after login, and a limit on attempts."""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Callable

from atrion.errors import ConfigurationError

__all__ = ["COOKIE", "LONGEST", "Access"]

COOKIE = "atrion_studio"
LONGEST = 12 * 3600
"""Seconds for which a login is good."""
SHORTEST_TOKEN = 16
ATTEMPTS, WITHIN = 5, 60.0
"""Wrong tokens that one address may try within so many seconds; ten times as many in all."""
MOST_ADDRESSES = 1024


class Access:
    """Checks tokens and cookies in constant time. Without a token, only this machine may look.

    A cookie is an expiry signed with a key made of the token, so every worker of an application accepts it, and
    another token ends all logins.

    Raises:
        ConfigurationError: the token is short enough to be guessed.
    """

    def __init__(self, token: str | None, now: Callable[[], float] = time.time) -> None:
        if token is not None and len(token) < SHORTEST_TOKEN:
            raise ConfigurationError(
                "token",
                f"{len(token)} characters",
                f"give at least {SHORTEST_TOKEN}, such as those of: "
                'python -c "import secrets; print(secrets.token_urlsafe())"',
            )
        self.needed: bool = token is not None
        self._now = now
        self._token = (token or "").encode()
        self._key = hashlib.sha256(b"atrion-studio cookie\0" + self._token).digest()
        self._wrong: dict[str, list[float]] = {}

    def token_is_right(self, given: str, address: str) -> bool | None:
        """Whether the token is right; None where too many wrong ones came, and this one was not looked at."""
        now = self._now()
        self._forget(now)
        total = sum(len(times) for times in self._wrong.values())
        if len(self._wrong.get(address, ())) >= ATTEMPTS or total >= 10 * ATTEMPTS:
            return None
        right = hmac.compare_digest(given.encode("utf-8", "replace"), self._token) and self.needed
        if not right:
            self._wrong.setdefault(address, []).append(now)
        return right

    def _forget(self, now: float) -> None:
        for address, times in list(self._wrong.items()):
            kept = [at for at in times if 0.0 <= now - at < WITHIN]
            if kept:
                self._wrong[address] = kept
            else:
                del self._wrong[address]
        while len(self._wrong) > MOST_ADDRESSES:
            self._wrong.pop(next(iter(self._wrong)))

    def cookie(self) -> str:
        """The value of a cookie that is good from now on."""
        expiry = str(int(self._now()) + LONGEST)
        return f"{expiry}.{self._sign(expiry)}"

    def cookie_is_good(self, value: str) -> bool:
        """Whether it was made with this token, and is not too old."""
        expiry, _, signature = value.partition(".")
        if not hmac.compare_digest(signature.encode("utf-8", "replace"), self._sign(expiry).encode()):
            return False
        return self._now() < int(expiry)

    def _sign(self, expiry: str) -> str:
        return hmac.new(self._key, expiry.encode("utf-8", "replace"), hashlib.sha256).hexdigest()
