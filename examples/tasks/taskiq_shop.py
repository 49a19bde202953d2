"""Tasks for taskiq; a broker over a network is set up likewise: python examples/tasks/taskiq_shop.py."""

import asyncio

from taskiq import InMemoryBroker

from atrion import Atrion
from atrion.integrations.taskiq import AtrionMiddleware

atrion = Atrion()
broker = InMemoryBroker().with_middlewares(AtrionMiddleware(atrion))


@broker.task(task_name="shop.receipt")
async def receipt(order: int) -> str:
    return f"receipt of {order}"


async def main() -> None:
    await broker.startup()
    task = await receipt.kiq(7)
    print((await task.wait_result(timeout=5.0)).return_value)
    await broker.shutdown()


if __name__ == "__main__":
    asyncio.run(main())
