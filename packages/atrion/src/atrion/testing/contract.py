"""The contract of a state provider: every law, and a way to hold a provider to all of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from atrion.testing._exchange_laws import EXCHANGE_LAWS
from atrion.testing._life_laws import LIFE_LAWS
from atrion.testing._port_laws import PORT_LAWS
from atrion.testing.bench import Bench, ContractError, Law, Make

__all__ = ["LAWS", "check_law", "laws_for", "run_contract"]

LAWS: tuple[Law, ...] = (*PORT_LAWS, *EXCHANGE_LAWS, *LIFE_LAWS)
"""Every law; which of them a provider is held to depends on its abilities."""


def laws_for(make: Make) -> list[Law]:
    """The laws that apply to the providers that ``make`` makes."""
    provider = make("abilities")
    return [law for law in LAWS if law.applies(provider)]


async def check_law(
    law: Law,
    make: Make,
    *,
    now: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    patience: float = 5.0,
) -> None:
    """Hold a provider to one law.

    Args:
        law: One of :data:`LAWS`.
        make: Makes a new, unconnected provider for the store of a name: the same name, the same store.
        now: Seconds of the clock that ages what the store keeps.
        sleep: Lets that clock move on by so many seconds.
        patience: Seconds a call may take and news may be under way, > 0.

    Raises:
        ContractError: the provider breaks the law.
    """
    bench = Bench(make, now, sleep, patience)
    try:
        await law.check(bench)
    except ContractError as error:
        raise ContractError(f"law “{law.name}”: {error}") from error
    finally:
        await bench.close()


async def run_contract(
    make: Make,
    *,
    now: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    patience: float = 5.0,
) -> list[str]:
    """Hold a provider to every law that applies to it; returns their names. Arguments as :func:`check_law`.

    Raises:
        ContractError: it breaks some; one line for each.
    """
    laws = laws_for(make)
    broken: list[str] = []
    for law in laws:
        try:
            await check_law(law, make, now=now, sleep=sleep, patience=patience)
        except ContractError as error:
            broken.append(str(error))
    if broken:
        raise ContractError(f"{len(broken)} of {len(laws)} laws are broken:\n" + "\n".join(broken))
    return [law.name for law in laws]
