"""All policies, by their names in tables."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from atrion.errors import ConfigurationError
from atrion.physics.config import PhysicsConfig
from atrion_lab.policies.atrion import AtrionPolicy
from atrion_lab.policies.baselines import ABOUT
from atrion_lab.policies.baselines import BASELINES as MAKERS
from atrion_lab.policies.clairvoyant import Clairvoyant
from atrion_lab.policies.port import Policy
from atrion_lab.policies.sampled import SampledPolicy
from atrion_lab.suggest import cure_for

__all__ = ["BASELINES", "CONTROLLERS", "POSSIBLE", "Controller", "controller"]


@dataclass(frozen=True, slots=True)
class Controller:
    """A policy with its parameters.

    ``make`` builds it, with keyword options of the pod it runs in where it ``spans`` all routes of a pod;
    others are built once for every route, from a random generator and the :class:`~atrion_lab.policies.Facts` of its
    server.
    ``fifo`` plays servers that share themselves as first-in first-out.
    """

    name: str
    about: str
    make: Callable[..., Policy]
    spans: bool = False
    fifo: bool = False


def _atrion(name: str, about: str, config: PhysicsConfig | None = None, **fixed: object) -> Controller:
    def make(**options: object) -> Policy:
        return AtrionPolicy(name, config=config, **{**options, **fixed})  # type: ignore[arg-type]  # a forwarder

    return Controller(name, about, make, spans=True)


POSSIBLE = Controller(
    "possible",
    "a clairvoyant first-in first-out that knows every service time and no tier",
    lambda **options: Clairvoyant(),
    spans=True,
    fifo=True,
)
"""What could be answered in time, without any preference: the measure of the others."""

CONTROLLERS: dict[str, Controller] = {
    each.name: each
    for each in (
        *(Controller(name, ABOUT[name], make) for name, make in MAKERS.items()),
        _atrion("atrion", "the shipped default"),
        _atrion("atrion-reference", "the RFC's own constants", PhysicsConfig.reference()),
        _atrion("atrion-no-momentum", "damping 0", PhysicsConfig(damping=0.0)),
        _atrion("atrion-no-scar", "scar factor 0", PhysicsConfig(scar_factor=0.0)),
        _atrion("atrion-no-cost", "every call counts as one, whatever it costs", costs=False),
        _atrion("atrion-no-dither", "a tier is shed as a whole", same=True),
        Controller(
            "atrion-sampled", "saturation once a tick, not at every decision", SampledPolicy, spans=True
        ),
        POSSIBLE,
        _atrion("atrion-alone", "γ 0: deaf to its cluster", gamma=0.0),
    )
}

BASELINES = tuple(name for name in CONTROLLERS if not name.startswith(("atrion", "possible")))
"""What Atrion is compared with."""


def controller(name: str) -> Controller:
    """The controller of a name.

    Raises:
        ConfigurationError: there is none.
    """
    if name not in CONTROLLERS:
        raise ConfigurationError("controller", name, cure_for(name, CONTROLLERS))
    return CONTROLLERS[name]
