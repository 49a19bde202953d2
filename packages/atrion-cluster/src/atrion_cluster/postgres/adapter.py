"""PostgresPersistenceAdapter: a provider on PostgreSQL for storing, recalling and subscribing."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, cast

from atrion.errors import ConfigurationError, ProviderError
from atrion.state import Finding, PhysicsVector, Remembered
from atrion_cluster.licence import LicenseHolder, LicenseWatch, Secret
from atrion_cluster.postgres.diagnostics import diagnose
from atrion_cluster.postgres.driver import Connection
from atrion_cluster.postgres.names import LONGEST, from_text, to_text
from atrion_cluster.postgres.past import PostgresPast
from atrion_cluster.postgres.pool import ConnectionPool
from atrion_cluster.postgres.schema import migrate
from atrion_cluster.postgres.settings import PostgresSettings, settings_from, split_url
from atrion_cluster.postgres.statements import statement
from atrion_cluster.postgres.subscriber import ChangeSubscriber

__all__ = ["PostgresPersistenceAdapter"]

DAY = 86_400.0
SWEEP_SECONDS = 60.0
"""Minimum seconds between two deletions of old rows."""


class PostgresPersistenceAdapter(LicenseHolder):
    """Stores the last vector of every route, and past vectors if configured.

    Use it beside a provider that shares, ``Atrion(provider=…, persistence=PostgresPersistenceAdapter(url))``, or
    alone as the provider. It creates its tables (in the first schema of the role's ``search_path``).

    Args:
        url: ``postgresql://user:password@host:5432/database``, with any option of libpq.
        namespace: Separates applications; 1 to 64 letters, digits, dots, dashes or underscores.
        history: Seconds for which past vectors are stored, ≥ 0; 0 stores none.
        forget_after: Seconds without an update after which a route is deleted, ≥ 60.
        deadline: Seconds one call may take, in (0, 60].
        license: The licence key; None or an empty string takes that of ``ATRION_LICENSE_KEY``, if there is one.

    Raises:
        ConfigurationError: a value is unusable; or the licence key is malformed, wrongly signed or not yet valid.
    """

    def __init__(
        self,
        url: str,
        *,
        namespace: str = "atrion",
        history: float = 0.0,
        forget_after: float = 7.0 * DAY,
        deadline: float = 0.8,
        license: str | None = None,
    ) -> None:
        secret, license = Secret(license), None  # not for tracebacks that show local variables
        self._watch = LicenseWatch(secret)
        self._admitted = False
        self._settings: PostgresSettings = settings_from(url, namespace, history, forget_after, deadline)
        self._pool = ConnectionPool(self._settings)
        self._subscriber = ChangeSubscriber(self._pool, self._settings)
        self._connected = False
        self._sweep_at = 0.0
        self.dropped_rows: int = 0

    def __repr__(self) -> str:
        return f"PostgresPersistenceAdapter({self._settings.where}, namespace {self._settings.namespace!r})"

    @classmethod
    def from_url(cls, url: str) -> PostgresPersistenceAdapter:
        """From a URL, whose options may also be ``namespace``, ``history``, ``forget_after`` and ``deadline``.

        Raises:
            ConfigurationError: a part of it is invalid.
        """
        theirs, own = split_url(url)
        numbers: dict[str, Any] = {}
        for name, value in own.items():
            try:
                numbers[name] = value if name == "namespace" else float(value)
            except ValueError:
                raise ConfigurationError(name, value, "give a number of seconds") from None
        return cls(theirs, **numbers)

    async def connect(self) -> None:
        """Connect to the server and create missing tables.

        Raises:
            ProviderError: the server cannot be reached, is read-only or too old, or refuses; or the licence lapsed and
                the namespace is new.
        """
        status = await self._pool.run(migrate)
        await self._attend_to_licence()
        self._connected = True
        if self._subscriber.since is None:
            self._subscriber.since = status.snapshot
        self._subscriber.listen()

    async def disconnect(self) -> None:
        """Close every connection at once; subscriptions continue with the next :meth:`connect`."""
        self._connected = False
        await self._subscriber.stop()
        self._pool.close()

    # --- licence ---------------------------------------------------------------------------------------------

    async def _attend_to_licence(self) -> None:
        """Count the namespaces.

        Raises:
            ProviderError: the licence lapsed, and the namespace is new.
        """
        self._watch.counting()
        clusters, known = None, True
        with suppress(ProviderError):  # what cannot be found out is in favour of the licensee
            clusters, known = (await self._pool.run(self._count))[0]
        if not (self._admitted or known) and self._watch.status().read_only:
            raise ProviderError(self._watch.refusal(self._settings.namespace))
        self._admitted = True
        self._watch.counted(clusters)

    async def _count(self, connection: Connection) -> list[tuple[int, bool]]:
        asked = {"namespace": self._settings.namespace, "longest": 7.0 * DAY}
        cursor = await connection.execute(statement("namespaces"), asked)
        return [(clusters, known) for clusters, known in await cursor.fetchall()]

    # --- the server ------------------------------------------------------------------------------------------

    async def _run(self, name: str, given: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """The rows of a statement."""
        if not self._connected:
            raise ProviderError(f"{self!r} is not connected")
        self._subscriber.listen()
        return await self._pool.rows(name, given)

    # --- vectors ---------------------------------------------------------------------------------------------

    async def get_vector(self, route_id: str) -> PhysicsVector | None:
        """The vector of a route, or None; invalid rows are dropped and counted."""
        rows = await self._run("get", {"route": to_text(route_id)})
        vectors = [vector for vector in (self._vector(row) for row in rows) if vector is not None]
        return vectors[0] if vectors else None

    def _vector(self, numbers: tuple[Any, ...]) -> PhysicsVector | None:
        vector = PhysicsVector(*numbers)
        if vector.is_sane():
            return vector
        self.dropped_rows += 1
        return None

    async def update_vector(self, route_id: str, vector: PhysicsVector) -> None:
        """Store the vector of a route."""
        await self.update_vectors({route_id: vector})

    async def update_vectors(self, vectors: Mapping[str, PhysicsVector]) -> None:
        """Store many vectors in one round trip."""
        if not vectors:
            return
        values = list(vectors.values())
        await self._run(
            "upsert",
            {
                "routes": [to_text(route) for route in vectors],
                "resistances": [vector.resistance for vector in values],
                "momenta": [vector.momentum for vector in values],
                "scars": [vector.scar_tissue for vector in values],
                "stamps": [vector.timestamp for vector in values],
                "history": self._settings.history > 0.0,
                "channel": self._settings.channel,
            },
        )
        if self._watch.count_due:
            await self._attend_to_licence()
        now = time.monotonic()
        if now >= self._sweep_at:
            self._sweep_at = now + SWEEP_SECONDS * random.uniform(1.0, 2.0)
            with suppress(ProviderError):  # the vectors are stored; a role may lack the right to delete
                await self.forget()

    async def forget(self) -> None:
        """Delete some of the old rows; also done automatically about once a minute."""
        await self._run("forget", {"keep": self._settings.forget_after, "history": self._settings.history})

    def subscribe(self, route_id: str, callback: Callable[[PhysicsVector], None]) -> Callable[[], None]:
        """Call ``callback`` with later vectors of the route, until the returned function is called.

        Of several changes at once only the last is reported.
        """
        end = self._subscriber.subscribe(route_id, callback)
        if self._connected:
            with suppress(RuntimeError):  # outside of an event loop; the next call listens
                self._subscriber.listen()
        return end

    # --- remembering -----------------------------------------------------------------------------------------

    async def recall(self, node: str, limit: int) -> Mapping[str, Remembered]:
        """The ``limit`` routes with most scar, with ages by the server's clock; nodes are not distinguished."""
        rows = await self._run("recall", {"limit": limit, "longest": DAY, "longest_name": LONGEST})
        found = {}
        for text, *numbers, age in rows:
            vector = self._vector(tuple(numbers))
            if vector is not None:
                found[from_text(text)] = Remembered(vector, cast("float", age))
        return found

    async def history(self, route_id: str, limit: int = 1000) -> list[Remembered]:
        """Past vectors of a route, newest first, for as long as ``history`` keeps them."""
        rows = await self._run("history", {"route": to_text(route_id), "limit": limit})
        found = ((self._vector(tuple(numbers)), cast("float", age)) for *numbers, age in rows)
        return [Remembered(vector, age) for vector, age in found if vector is not None]

    def past(self) -> PostgresPast | None:
        """A reader of past vectors with connections of its own; None unless ``history`` keeps them."""
        return PostgresPast(self._settings) if self._settings.history > 0.0 else None

    async def list_routes(self, limit: int) -> list[str]:
        """At most ``limit`` of the routes that are kept."""
        rows = await self._run("routes", {"limit": limit, "longest_name": LONGEST})
        return [from_text(text) for (text,) in rows]

    async def list_nodes(self) -> list[str]:
        """Always empty: vectors are stored without their node."""
        return []

    async def diagnose(self) -> list[Finding]:
        """Findings about the server, on a separate connection."""
        return await diagnose(self._settings)
