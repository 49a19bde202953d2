"""What the laws of the contract are tried on: providers over one store, time, and patience."""

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
"""Makes a new, unconnected provider for the store of a name: the same name, the same store."""


class ContractError(AssertionError):
    """A provider breaks a law; the message names the law, what was expected, and what was seen."""


def vector(scar: float = 5.0, resistance: float = 40.0) -> PhysicsVector:
    """A vector with a scar in ohms and numbers that no rounding leaves alone."""
    return PhysicsVector(resistance, 0.1 + 0.2, scar, 1234.567891234)


class Bench:
    """Opens providers on a store of its own, and gives up on whatever takes longer than ``patience``.

    Args:
        make: Makes a provider for the store of a name.
        now: Seconds of the clock that ages what the store keeps.
        sleep: Lets that clock move on by so many seconds.
        patience: Seconds a call may take and news may be under way.
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
        """Disconnect everything that was opened; what fails here is another law's business."""
        opened, self._opened = self._opened, []
        with suppress(TimeoutError):
            async with asyncio.timeout(self.patience):
                await asyncio.gather(*(provider.disconnect() for provider in opened), return_exceptions=True)

    async def ask(self, call: Awaitable[Any], what: str) -> Any:
        """The answer of ``call``; a failure or an endless wait breaks the law."""
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
        """Wait for ``condition``, which may come true in another thread; ``what`` says what was expected."""
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
    """One law: its name in plain words, the method it is about where not every provider has it, and its check."""

    name: str
    method: str
    check: Callable[[Bench], Awaitable[None]]

    def applies(self, provider: Any) -> bool:
        """Whether ``provider`` has what the law is about."""
        return not self.method or callable(getattr(provider, self.method, None))


def law(
    laws: list[Law], method: str = ""
) -> Callable[[Callable[[Bench], Awaitable[None]]], Callable[[Bench], Awaitable[None]]]:
    """Adds a check to ``laws``, named like its function."""

    def add(check: Callable[[Bench], Awaitable[None]]) -> Callable[[Bench], Awaitable[None]]:
        laws.append(Law(check.__name__.replace("_", " "), method, check))
        return check

    return add
