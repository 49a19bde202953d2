"""Jobs for arq: arq arq_shop.WorkerSettings."""

from typing import Any

from atrion import Atrion
from atrion.integrations.arq import guard

atrion = Atrion()


@guard(atrion, tier="low")
async def report(ctx: dict[Any, Any], day: str) -> str:
    return f"report of {day}"


class WorkerSettings:
    functions = (report,)
