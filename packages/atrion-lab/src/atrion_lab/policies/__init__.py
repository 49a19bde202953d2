"""Admission policies that the lab compares, all behind one port."""

from atrion.lab.policies.baselines import BASELINES, LIBRARIES
from atrion.lab.policies.facts import Facts
from atrion.lab.policies.port import BasePolicy, Call, Policy

__all__ = ["BASELINES", "LIBRARIES", "BasePolicy", "Call", "Facts", "Policy"]
