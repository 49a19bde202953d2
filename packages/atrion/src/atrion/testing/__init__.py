"""What others may use in their own tests: the contract of a state provider, and a clock that is moved by hand."""

from __future__ import annotations

from atrion.testing.bench import Bench, ContractError, Law
from atrion.testing.clock import VirtualClock
from atrion.testing.contract import LAWS, check_law, laws_for, run_contract

__all__ = [
    "LAWS",
    "Bench",
    "ContractError",
    "Law",
    "VirtualClock",
    "check_law",
    "laws_for",
    "run_contract",
]
