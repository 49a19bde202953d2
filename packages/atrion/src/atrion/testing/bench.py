"""Test bench for the laws of the contract: providers over one store, a clock, and time limits."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from atrion.state import PhysicsVector

__all__ = ["Bench", "ContractError", "Law", "Make", "expect", "law", "vector"]

Make = Callable[[str], Any]
"""Creates a new, unconnected provider for a named store; the same name means the same store."""


class ContractError(AssertionError):
    """A provider breaks a law; the message names the law, what was expected, and what was seen."""


def vector(scar: float = 5.0, resistance: float = 40.0) -> PhysicsVector:
    """A vector with a scar in ohms, and numbers that any rounding would change."""
    return PhysicsVector(resistance, 0.1 + 0.2, scar, 1234.567891234)


class Bench:
    """Opens providers on a store of its own, and fails calls that take longer than ``patience``.

    Args:
        make: Creates a provider for a named store.
        now: Seconds of the clock by which the store's data ages.
        sleep: Advances that clock by a number of seconds.
        patience: Seconds that a call or a notification may take.
    """

    def __init__(
        self,
        make: Make,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        patience: float = 5.0,
    ) -> None:
        self.make = make
        self.now = now
        self.sleep = sleep
        self.patience = patience
        self.store: str = f"law{uuid.uuid4().hex[:12]}"
        self._opened: list[Any] = []

    def new(self, store: str | None = None) -> Any:
        """A provider that is not connected yet; the bench disconnects it at the end."""
        provider = self.make(self.store if store is None else store)
        self._opened.append(provider)
        return provider

    async def open(self, store: str | None = None) -> Any:
        """A connected provider."""
        provider = self.new(store)
        await self.ask(provider.connect(), "connect()")
        return provider

    async def close(self) -> None:
        """Disconnect everything that was opened; failures here are checked by another law."""
        opened, self._opened = self._opened, []
        with suppress(TimeoutError):
            async with asyncio.timeout(self.patience):
                await asyncio.gather(*(provider.disconnect() for provider in opened), return_exceptions=True)

    async def ask(self, call: Awaitable[Any], what: str) -> Any:
        """The answer of ``call``; an exception or a timeout breaks the law."""
        try:
            async with asyncio.timeout(self.patience):
                return await call
        except TimeoutError as error:
            raise ContractError(f"{what} must return, and had not after {self.patience} s") from error
        except ContractError:
            raise
        except Exception as error:
            raise ContractError(f"{what} must work, and raised {type(error).__name__}: {error}") from error

    async def until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait for ``condition``, which may become true in another thread; ``what`` describes it in the error."""
        end = time.monotonic() + self.patience
        while not condition():
            if time.monotonic() > end:
                raise ContractError(f"{what}, and that had not happened after {self.patience} s")
            await asyncio.sleep(0.002)

    async def keeps(self, provider: Any, route: str, scar: float, when: str) -> None:
        """Write a vector and read it back."""
        wanted = vector(scar)
        await self.ask(provider.update_vector(route, wanted), f"update_vector {when}")
        found = await self.ask(provider.get_vector(route), f"get_vector {when}")
        expect(found == wanted, f"{when}, what is written must be read back: wrote {wanted}, read {found}")


def expect(holds: bool, message: str) -> None:
    """Raise :class:`ContractError` with ``message`` unless it ``holds``."""
    if not holds:
        raise ContractError(message)


@dataclass(frozen=True, slots=True)
class Law:
    """One law: its name, the method it requires if that is optional, and its check."""

    name: str
    method: str
    check: Callable[[Bench], Awaitable[None]]

    def applies(self, provider: Any) -> bool:
        """Whether the law applies to ``provider``."""
        return not self.method or callable(getattr(provider, self.method, None))


def law(
    laws: list[Law], method: str = ""
) -> Callable[[Callable[[Bench], Awaitable[None]]], Callable[[Bench], Awaitable[None]]]:
    """Adds a check to ``laws``, named like its function."""

    def add(check: Callable[[Bench], Awaitable[None]]) -> Callable[[Bench], Awaitable[None]]:
        laws.append(Law(check.__name__.replace("_", " "), method, check))
        return check

    return add
