"""The hypotheses of RFC-0003, tested with the real engine on virtual time."""

from typing import Final

from atrion_lab.hypotheses.flapping import FLAPPING
from atrion_lab.hypotheses.healing import HEALING
from atrion_lab.hypotheses.hypothesis import Hypothesis, Measure, Trial, findings
from atrion_lab.hypotheses.routing import ROUTING

__all__ = ["HYPOTHESES", "Hypothesis", "Measure", "Trial", "findings"]

HYPOTHESES: Final[dict[str, Hypothesis]] = {each.name: each for each in (FLAPPING, HEALING, ROUTING)}
