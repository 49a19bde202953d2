"""``@atrion.protect(...)``: a guard around every call of a function, sync or async, one core for both."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from atrion.control.flow import outcome_of
from atrion.control.route import Route
from atrion.errors import FlowRejected

__all__ = ["protect"]

F = TypeVar("F", bound=Callable[..., Any])


def protect(function: F, route: Route, band: float, width: float, clock: Callable[[], float]) -> F:
    """Wrap a function, sync or async, in the admission of ``route``; ``band`` and ``width`` in volts."""
    admits, begin, end, unit, rejection = route.admits, route.begin, route.end, route.unit, route.rejection

    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def guarded_async(*args: Any, **kwargs: Any) -> Any:
            now = clock()
            volts = band + width * unit()
            if not admits(volts, now):
                raise FlowRejected(rejection(volts))
            light = begin(now)
            try:
                result = await function(*args, **kwargs)
            except BaseException as error:
                end(now, clock(), outcome_of(error), light)
                raise
            end(now, clock(), 0, light)
            return result

        return guarded_async  # type: ignore[return-value]  # the wrapper has the wrapped one's signature

    @functools.wraps(function)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        now = clock()
        volts = band + width * unit()
        if not admits(volts, now):
            raise FlowRejected(rejection(volts))
        light = begin(now)
        try:
            result = function(*args, **kwargs)
        except BaseException as error:
            end(now, clock(), outcome_of(error), light)
            raise
        end(now, clock(), 0, light)
        return result

    return guarded  # type: ignore[return-value]  # the wrapper has the wrapped one's signature
