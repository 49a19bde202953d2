"""Tools for tests of applications and providers: forced shedding, a virtual clock, and the contract of providers.

Fixtures for pytest are in :mod:`atrion.testing.fixtures`.
"""

from __future__ import annotations

from atrion.testing.bench import Bench, ContractError, Law
from atrion.testing.clock import VirtualClock
from atrion.testing.contract import LAWS, check_law, laws_for, run_contract
from atrion.testing.forcing import force_open, force_shed

__all__ = [
    "LAWS",
    "Bench",
    "ContractError",
    "Law",
    "VirtualClock",
    "check_law",
    "force_open",
    "force_shed",
    "laws_for",
    "run_contract",
]
