from __future__ import annotations

import asyncio
from collections import defaultdict
from functools import partial

import pytest

from atrion import InMemoryProvider
from atrion.testing import Law, VirtualClock, check_law, laws_for


@pytest.mark.parametrize("law", laws_for(lambda _: InMemoryProvider()), ids=lambda law: law.name)
def test_memory_keeps_every_law(law: Law) -> None:
    clock = VirtualClock()
    hubs: defaultdict[str, InMemoryProvider] = defaultdict(partial(InMemoryProvider, clock=clock.monotonic))

    async def sleep(seconds: float) -> None:
        clock.advance(seconds)

    asyncio.run(check_law(law, hubs.__getitem__, now=clock.monotonic, sleep=sleep))
