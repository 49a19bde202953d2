"""The contract of a state provider: all laws, and functions that check them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from atrion.testing._exchange_laws import EXCHANGE_LAWS
from atrion.testing._life_laws import LIFE_LAWS
from atrion.testing._port_laws import PORT_LAWS
from atrion.testing._vitals_laws import VITALS_LAWS
from atrion.testing.bench import Bench, ContractError, Law, Make

__all__ = ["LAWS", "check_law", "laws_for", "run_contract"]

LAWS: tuple[Law, ...] = (*PORT_LAWS, *EXCHANGE_LAWS, *LIFE_LAWS, *VITALS_LAWS)
"""All laws; those of optional protocols apply to the providers that implement them."""


def laws_for(make: Make) -> list[Law]:
    """The laws that apply to the providers that ``make`` creates."""
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
    """Check one law on a provider.

    Args:
        law: One of :data:`LAWS`.
        make: Creates a new, unconnected provider for a named store; the same name means the same store.
        now: Seconds of the clock by which the store's data ages.
        sleep: Advances that clock by a number of seconds.
        patience: Seconds that a call or a notification may take, > 0.

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
    """Check every law that applies to a provider; returns their names. Takes the arguments of :func:`check_law`.

    Raises:
        ContractError: the provider breaks laws; the message has one line for each.
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
