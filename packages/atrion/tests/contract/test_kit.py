"""The kit itself: it must find what is broken, and say which law it breaks."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import pytest

from atrion import InMemoryProvider
from atrion.testing import LAWS, ContractError, check_law, run_contract
from packages.atrion.tests.contract.broken import BROKEN, BROKEN_VITALS, CLOCK, PassesOn, asleep


def of_one_store(kind: Callable[[], Any]) -> Callable[[str], Any]:
    return defaultdict[str, Any](kind).__getitem__


@pytest.mark.parametrize("kind, law", BROKEN_VITALS, ids=lambda value: getattr(value, "__name__", ""))
def test_what_is_broken_about_vitals_is_found_and_named(kind: type[PassesOn], law: str) -> None:
    held = next(known for known in LAWS if known.name == law)
    with pytest.raises(ContractError, match=f"law “{law}”: .*must"):
        asyncio.run(check_law(held, of_one_store(kind), now=CLOCK.monotonic, sleep=asleep))


def test_a_provider_that_passes_vitals_on_keeps_their_laws() -> None:
    laws = {law for _, law in BROKEN_VITALS}
    for law in LAWS:
        if law.name in laws:
            asyncio.run(check_law(law, of_one_store(PassesOn), now=CLOCK.monotonic, sleep=asleep))
    assert {law.name for law in LAWS if law.method == "watch_vitals"} == laws
    assert not any(law.applies(InMemoryProvider()) for law in LAWS if law.name in laws)


@pytest.mark.parametrize("kind, law", BROKEN, ids=lambda value: getattr(value, "__name__", ""))
def test_what_is_broken_is_found_and_named(kind: type[InMemoryProvider], law: str) -> None:
    held = next(known for known in LAWS if known.name == law)
    with pytest.raises(ContractError, match=f"law “{law}”: .*must"):
        asyncio.run(check_law(held, of_one_store(kind), patience=0.2))


def test_stores_that_reach_into_each_other_are_found() -> None:
    hub = InMemoryProvider()
    with pytest.raises(
        ContractError, match=r"laws are broken:\n(?s:.*)stores of other names are not reached"
    ):
        asyncio.run(run_contract(lambda _: hub, patience=0.2))


def test_providers_that_do_not_share_are_found() -> None:
    with pytest.raises(ContractError, match="providers of one store see each other"):
        asyncio.run(run_contract(lambda _: InMemoryProvider(), patience=0.2))


def test_what_keeps_every_law_is_told_which() -> None:
    names = asyncio.run(run_contract(of_one_store(InMemoryProvider)))
    assert "what is written is read back exactly" in names
    assert "a batch is kept whole" not in names  # memory needs none
