"""Voltage: the band of a request's tier, and the place of its key in the band (RFC-0002)."""

from __future__ import annotations

from enum import IntEnum, StrEnum
from typing import Final, Literal
from zlib import crc32 as _crc32

from atrion.errors import ConfigurationError

__all__ = [
    "BAND_WIDTH",
    "Tier",
    "TierLike",
    "TierName",
    "band",
    "level_at",
    "level_of",
    "unit_hash",
    "voltage",
]

LOWEST_VOLTAGE: Final = 20.0
"""Volts at which the lowest band begins, above the resistance of an idle route."""
SPACING: Final = 12.0
"""Volts from one band to the next."""
CRITICAL_GAP: Final = 24.0
"""Additional volts below the critical band: more than resistance varies in a small pool, where one call in flight adds
several ohms."""
BAND_WIDTH: Final = 10.0
"""Width of a band in volts."""


TierName = Literal["bulk", "low", "normal", "high", "critical"]
"""A tier by its name."""


class Tier(IntEnum):
    """Importance of a request, given by the gateway or the code, never by an untrusted client."""

    BULK = 0
    LOW = 1
    NORMAL = 2
    HIGH = 3
    CRITICAL = 4

    @classmethod
    def parse(cls, value: object, field: str = "tier") -> Tier:
        """The tier named by a :class:`Tier` or its name in any case.

        Raises:
            ConfigurationError: the name is not one of the five.
        """
        if isinstance(value, cls):
            return value
        if isinstance(value, str) and value.upper() in cls.__members__:
            return cls[value.upper()]
        names = ", ".join(tier.name.lower() for tier in reversed(cls))
        raise ConfigurationError(field, value, f"use one of {names}")


TierLike = Tier | TierName | StrEnum
"""A tier or its name."""
# Compiled code does not check unions with a class that is not compiled, so wrong values reach our own error messages.

_BULK: Final = Tier.BULK
_LOW: Final = Tier.LOW
_NORMAL: Final = Tier.NORMAL
_HIGH: Final = Tier.HIGH
_CRITICAL: Final = Tier.CRITICAL


def level_of(tier: object) -> int:
    """The level of a tier, 0 to 4.

    Raises:
        ConfigurationError: it is neither a :class:`Tier` nor the name of one.
    """
    # Compared by identity: hashing or converting an enum member costs more than the whole decision.
    if tier is _NORMAL:
        return 2
    if tier is _CRITICAL:
        return 4
    if tier is _HIGH:
        return 3
    if tier is _LOW:
        return 1
    if tier is _BULK:
        return 0
    return int(Tier.parse(tier))


def band(level: int) -> float:
    """Volts at which the band of a tier begins: 20, 32, 44, 56 and 92, from bulk (0) to critical (4)."""
    start = LOWEST_VOLTAGE + SPACING * level
    return start + CRITICAL_GAP if level == 4 else start


def level_at(volts: float) -> int:
    """The level of the highest band that begins at or below ``volts``, 0 to 4."""
    if volts >= LOWEST_VOLTAGE + 4.0 * SPACING + CRITICAL_GAP:
        return 4
    return min(max(int((volts - LOWEST_VOLTAGE) / SPACING), 0), 3)


def voltage(tier: Tier, unit: float) -> float:
    """``band(tier) + width·u`` in volts; ``unit`` u in [0, 1) is the caller's place in the band."""
    return band(int(tier)) + BAND_WIDTH * unit


def unit_hash(key: str, phase: float = 0.0) -> float:
    """A key's place in [0, 1), the same in every process, shifted by ``phase`` in [0, 1) and wrapped around.

    CRC-32, mixed by two multiplications (constants of Wellons' hash-prospector), because CRC alone is linear and would
    place similar keys side by side. All products stay below 2⁶², where compiled integers are machine words.
    """
    try:
        data = key.encode()
    except UnicodeEncodeError:  # a key with lone surrogates
        data = key.encode("utf-8", "surrogatepass")
    mixed = _crc32(data)
    mixed ^= mixed >> 15
    mixed = (mixed * 0x2C1B3C6D) & 0xFFFFFFFF
    mixed ^= mixed >> 12
    mixed = (mixed * 0x297A2D39) & 0xFFFFFFFF
    mixed ^= mixed >> 15
    place = mixed / 4294967296.0 + phase
    return place - 1.0 if place >= 1.0 else place
