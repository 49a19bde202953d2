"""The laws as pure code, for those who hold their own state."""

from atrion.physics.adaptive import AdaptiveThreshold
from atrion.physics.config import SLO, AdaptiveBreak, PhysicsConfig
from atrion.physics.functional import update_physics
from atrion.physics.laws import (
    MAX_RESISTANCE,
    drive,
    momentum,
    norm,
    normalize,
    positive_norm,
    resistance,
    route_probabilities,
    scar,
    seconds_until_scar,
    staleness,
    weight,
)
from atrion.physics.modes import Mode
from atrion.physics.state import Constants, PhysicsState
from atrion.physics.voltage import BAND_WIDTH, Tier, band, unit_hash, voltage

__all__ = [
    "BAND_WIDTH",
    "MAX_RESISTANCE",
    "SLO",
    "AdaptiveBreak",
    "AdaptiveThreshold",
    "Constants",
    "Mode",
    "PhysicsConfig",
    "PhysicsState",
    "Tier",
    "band",
    "drive",
    "momentum",
    "norm",
    "normalize",
    "positive_norm",
    "resistance",
    "route_probabilities",
    "scar",
    "seconds_until_scar",
    "staleness",
    "unit_hash",
    "update_physics",
    "voltage",
    "weight",
]
