"""Actors for Dramatiq: dramatiq dramatiq_shop."""

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from atrion import Atrion
from atrion.integrations.dramatiq import AtrionMiddleware

broker = RedisBroker(url="redis://127.0.0.1:6379/0")
broker.add_middleware(AtrionMiddleware(Atrion()))
dramatiq.set_broker(broker)


@dramatiq.actor
def receipt(order: int) -> None:
    print(f"receipt of {order}")
