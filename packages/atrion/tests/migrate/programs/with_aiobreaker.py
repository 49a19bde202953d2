"""A program that uses aiobreaker."""

import asyncio
from datetime import timedelta

from aiobreaker import CircuitBreaker, CircuitBreakerError, CircuitBreakerListener

heard = []


class Heard(CircuitBreakerListener):
    def state_change(self, breaker, old, new):
        heard.append(new.state.name)


db = CircuitBreaker(fail_max=5, timeout_duration=timedelta(seconds=30), exclude=[ValueError])
db.add_listener(Heard())


@db
async def _query(work):
    return work()


def query(work):
    return asyncio.run(_query(work))


async def _do(work):
    return work()


def call(work):
    async def run():
        return await db.call_async(_do, work)

    return asyncio.run(run())


def guarded(work):
    try:
        return query(work)
    except CircuitBreakerError:
        return "refused"
