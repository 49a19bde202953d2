"""Admission policies that the lab compares, all behind one port."""

from atrion_lab.policies.baselines import BASELINES, LIBRARIES
from atrion_lab.policies.common import Facts
from atrion_lab.policies.port import BasePolicy, Call, Policy

__all__ = ["BASELINES", "LIBRARIES", "BasePolicy", "Call", "Facts", "Policy"]
