"""Profiles: what is expected of short and of long work, as a bundle of settings with a name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

from atrion._plain import Plain
from atrion.errors import ConfigurationError
from atrion.physics.config import check_number

__all__ = ["EXTREME", "HEAVY", "LIGHT", "PROFILES", "STANDARD", "Profile", "ProfileLike", "profile_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile(Plain):
    """What is expected of the work on a route: pressure is deviation from it.

    Attributes:
        name: Its name, 1 to 256 characters.
        duration: Seconds, > 0, that the work may take by nature: where no latency is promised, latencies that callers
            report are pressure only above it. It is also the usual duration of leases until some have ended.
        latency: Seconds, > 0, after which an answer is late on routes whose SLO promises no latency; None for no
            promise.
        stall: Least seconds, > 0, without any answer after which unanswered calls count as failures.
        heartbeat: Seconds, > 0, without a heartbeat after which a lease expires.
        grace: Seconds, ≥ 0, that the holder of a lease has to stop when asked.

    Raises:
        ConfigurationError: a value is out of its range.
    """

    name: str = "custom"
    duration: float = 1.0
    latency: float | None = None
    stall: float = 3.0
    heartbeat: float = 30.0
    grace: float = 5.0

    def __post_init__(self) -> None:
        name: object = self.name
        if not isinstance(name, str) or not 0 < len(name) <= 256:
            raise ConfigurationError("Profile.name", name, "give 1 to 256 characters")
        for field in ("duration", "stall", "heartbeat"):
            check_number(f"Profile.{field}", getattr(self, field), 0.0, above=True)
        if self.latency is not None:
            check_number("Profile.latency", self.latency, 0.0, above=True)
        check_number("Profile.grace", self.grace, 0.0)


LIGHT: Final = Profile(name="light", duration=0.1, latency=1.0, heartbeat=10.0, grace=1.0)
"""Health checks and look-ups: an answer after a second is late."""
STANDARD: Final = Profile(name="standard")
"""Requests; every route has this profile unless another one is configured."""
HEAVY: Final = Profile(name="heavy", duration=3600.0, stall=60.0, heartbeat=120.0, grace=30.0)
"""Work of minutes up to an hour: reports, imports, batches."""
EXTREME: Final = Profile(name="extreme", duration=86400.0, stall=600.0, heartbeat=900.0, grace=60.0)
"""Work of hours up to a day: sequencing, training, migrations."""
PROFILES: Final = {profile.name: profile for profile in (LIGHT, STANDARD, HEAVY, EXTREME)}
"""The profiles that have a name of their own."""

ProfileName = Literal["light", "standard", "heavy", "extreme"]
"""A profile by its name."""
ProfileLike = Profile | ProfileName
"""A profile or its name."""


def profile_of(profile: Any) -> Profile:
    """The profile that ``profile`` is, or names.

    Raises:
        ConfigurationError: it is neither.
    """
    if isinstance(profile, Profile):
        return profile
    found = PROFILES.get(profile) if isinstance(profile, str) else None
    if found is None:
        raise ConfigurationError("profile", profile, f"use one of {', '.join(PROFILES)}, or a Profile")
    return found
