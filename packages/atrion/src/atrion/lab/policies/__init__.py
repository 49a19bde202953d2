"""Admission policies that the lab compares, all behind one port."""

from atrion.lab.policies.port import BasePolicy, Call, Policy

__all__ = ["BasePolicy", "Call", "Policy"]
