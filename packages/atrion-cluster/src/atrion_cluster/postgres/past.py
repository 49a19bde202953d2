"""Past vectors for views of history, read on connections of their own so that no pulse waits for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, cast

from atrion.state.port import PhysicsVector, Remembered
from atrion_cluster.postgres.names import LONGEST, from_text, to_text
from atrion_cluster.postgres.pool import ConnectionPool
from atrion_cluster.postgres.settings import PostgresSettings

__all__ = ["PostgresPast"]

MOST_POINTS: Final = 5000


class PostgresPast:
    """Reads what the adapter of the same settings stored."""

    def __init__(self, settings: PostgresSettings) -> None:
        self._settings = settings
        self._pool = ConnectionPool(settings)

    async def span(self) -> float | None:
        """The age of the oldest vector in seconds; None without any.

        Raises:
            ProviderError: the server cannot be asked.
        """
        ((age,),) = await self._pool.rows("history_span", {"longest": self._settings.history})
        return cast("float | None", age)

    async def between(self, route_id: str, oldest: float, newest: float, step: float) -> list[Remembered]:
        """The vectors of a route between two ages in seconds, oldest first: the last one of each ``step`` seconds.

        Raises:
            ProviderError: the server cannot be asked.
        """
        given = {"oldest": oldest, "newest": newest, "step": step, "limit": MOST_POINTS}
        rows = await self._pool.rows("history_between", {"route": to_text(route_id), **given})
        return [found for *numbers, age in rows if (found := _remembered(numbers, age)) is not None]

    async def moment(self, age: float, limit: int) -> Mapping[str, Remembered]:
        """The vectors that at most ``limit`` routes had ``age`` seconds ago, each as it was last written until then.

        Raises:
            ProviderError: the server cannot be asked.
        """
        rows = await self._pool.rows("history_moment", {"age": age, "limit": limit, "longest_name": LONGEST})
        return {
            from_text(route): found
            for route, *numbers, written in rows
            if (found := _remembered(numbers, written)) is not None
        }

    def close(self) -> None:
        """Close the connections; the next call opens new ones."""
        self._pool.close()


def _remembered(numbers: list[Any], age: Any) -> Remembered | None:
    """A vector and its age; None for one that makes no sense."""
    vector = PhysicsVector(*numbers)
    return Remembered(vector, cast("float", age)) if vector.is_sane() else None
