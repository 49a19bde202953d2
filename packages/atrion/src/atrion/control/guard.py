"""``@atrion.protect(...)``: a guard around every call of a function, sync or async, one core for both."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from atrion.control.flow import Gate
from atrion.errors import FlowRejected

__all__ = ["protect"]

F = TypeVar("F", bound=Callable[..., Any])


def protect(function: F, gate: Gate) -> F:
    """Wrap a function, sync or async, so that every call passes ``gate``."""
    enter = gate.enter

    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def guarded_async(*args: Any, **kwargs: Any) -> Any:
            flow = enter()
            if not flow.open:
                raise FlowRejected(flow.rejection())
            try:
                result = await function(*args, **kwargs)
            except BaseException as error:
                flow.leave(error)
                raise
            flow.finish()
            return result

        return guarded_async  # type: ignore[return-value]  # the wrapper has the wrapped one's signature

    @functools.wraps(function)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        flow = enter()
        if not flow.open:
            raise FlowRejected(flow.rejection())
        try:
            result = function(*args, **kwargs)
        except BaseException as error:
            flow.leave(error)
            raise
        flow.finish()
        return result

    return guarded  # type: ignore[return-value]  # the wrapper has the wrapped one's signature
