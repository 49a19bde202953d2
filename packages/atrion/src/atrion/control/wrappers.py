"""Wrappers of coroutine functions and generator functions; each wrapper is of the same kind as its function."""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncIterable, AsyncIterator, Callable, Generator, Iterable
from dataclasses import dataclass
from typing import Any, Final

from atrion.control.call import Call
from atrion.errors import FlowRejected

__all__ = [
    "NO_OPTIONS",
    "Begin",
    "Function",
    "Options",
    "async_generator_function",
    "coroutine_function",
    "generator_function",
]

Function = Callable[..., Any]
Begin = Callable[..., Call]
"""Begins a call; takes what ``Options.key`` returns if there is one."""


@dataclass(frozen=True, slots=True)
class Options:
    """The options of ``protect``."""

    key: Function | None = None
    ignore: tuple[type[BaseException], ...] = ()
    failure: Function | None = None
    fallback: Function | None = None
    cost: Function | None = None


NO_OPTIONS: Final = Options()


def coroutine_function(function: Function, begin: Begin, options: Options = NO_OPTIONS) -> Function:
    """Wrap a coroutine function: a call is in flight until its coroutine is done."""
    # Rarely used options are looked up when needed: every variable of an outer function costs each call a little.
    key, failure = options.key, options.failure

    @functools.wraps(function)
    async def guarded(*args: Any, **kwargs: Any) -> Any:
        call = begin() if key is None else begin(key(*args, **kwargs))
        if not call:
            if options.fallback is not None:
                return await _awaited(options.fallback(*args, **kwargs))
            raise FlowRejected(call.rejection())
        try:
            # Passing an empty dictionary on would copy it.
            result = await (function(*args, **kwargs) if kwargs else function(*args))
            if failure is not None and failure(result):
                call.fail()
        except BaseException as error:
            call.finish_with(error, options.ignore)
            raise
        call.finish()
        return result

    return guarded


async def _awaited(result: Any) -> Any:
    return await result if inspect.isawaitable(result) else result


def generator_function(function: Function, begin: Begin, options: Options = NO_OPTIONS) -> Function:
    """Wrap a generator function: in flight from the first ``next()`` on; the latency ends with the first item."""
    key, ignore, fallback = options.key, options.ignore, options.fallback

    @functools.wraps(function)
    def guarded(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        call = begin() if key is None else begin(key(*args, **kwargs))
        if not call:
            if fallback is not None:
                return (yield from fallback(*args, **kwargs))
            raise FlowRejected(call.rejection())
        try:
            generator = function(*args, **kwargs)
            item = next(generator)
            call.answer()
            while True:
                call.suspend()
                try:
                    sent = yield item
                except BaseException as error:
                    call.resume()
                    if isinstance(error, GeneratorExit):
                        generator.close()
                        raise
                    item = generator.throw(error)
                else:
                    call.resume()
                    item = generator.send(sent)
        except StopIteration as end:
            call.finish()
            return end.value
        except BaseException as error:
            call.finish_with(error, ignore)
            raise

    return guarded


def async_generator_function(function: Function, begin: Begin, options: Options = NO_OPTIONS) -> Function:
    """Wrap an asynchronous generator function in the same way."""
    key, ignore, fallback = options.key, options.ignore, options.fallback

    @functools.wraps(function)
    async def guarded(*args: Any, **kwargs: Any) -> Any:
        call = begin() if key is None else begin(key(*args, **kwargs))
        if not call:
            if fallback is not None:
                async for item in _items(fallback(*args, **kwargs)):
                    yield item
                return
            raise FlowRejected(call.rejection())
        try:
            generator = function(*args, **kwargs)
            item = await anext(generator)
            call.answer()
            while True:
                call.suspend()
                try:
                    sent = yield item
                except BaseException as error:
                    call.resume()
                    if isinstance(error, GeneratorExit):
                        await generator.aclose()
                        raise
                    item = await generator.athrow(error)
                else:
                    call.resume()
                    item = await generator.asend(sent)
        except StopAsyncIteration:
            call.finish()
        except BaseException as error:
            call.finish_with(error, ignore)
            raise

    return guarded


async def _items(items: AsyncIterable[Any] | Iterable[Any]) -> AsyncIterator[Any]:
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item
