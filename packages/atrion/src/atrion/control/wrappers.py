"""Wrappers around functions of every kind, each of which keeps its kind, and what they do with what is returned."""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncIterable, AsyncIterator, Callable, Coroutine, Generator, Iterable
from contextlib import AsyncContextDecorator, ContextDecorator
from dataclasses import dataclass, replace
from types import AsyncGeneratorType, GeneratorType, NoneType, TracebackType
from typing import Any, Final

from atrion.control.call import Call
from atrion.errors import FlowRejected

__all__ = [
    "Options",
    "async_generator_function",
    "coroutine_function",
    "generator_function",
    "plain_function",
]

Function = Callable[..., Any]
Begin = Callable[..., Call]
"""Begins a call, where there is a key of the caller with it."""

PLAIN: Final = frozenset({bool, int, float, str, bytes, tuple, list, dict, set, NoneType})
"""Common types of results that are complete when the function returns."""


@dataclass(frozen=True, slots=True)
class Options:
    """What a decorated function was given: how to name the caller, whose fault an end is, what answers when shed."""

    key: Function | None = None
    ignore: tuple[type[BaseException], ...] = ()
    failure: Function | None = None
    fallback: Function | None = None


NO_OPTIONS: Final = Options()


def coroutine_function(function: Function, begin: Begin, options: Options = NO_OPTIONS) -> Function:
    """An ``async def``: each call passes ``begin``, and is in flight until it is done."""
    # What few calls need stays in the options: every variable of an outer function costs each call a little.
    key, failure = options.key, options.failure

    @functools.wraps(function)
    async def guarded(*args: Any, **kwargs: Any) -> Any:
        call = begin() if key is None else begin(key(*args, **kwargs))
        if not call:
            if options.fallback is not None:
                return await _awaited(options.fallback(*args, **kwargs))
            raise FlowRejected(call.rejection())
        try:
            # To pass an empty dictionary on is to copy it.
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
    """A generator function: in flight from the first item asked for; its latency ends with that item."""
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
    """Likewise for an asynchronous one."""
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


def plain_function(function: Function, begin: Begin, options: Options = NO_OPTIONS) -> Function:
    """Any other function, and what it returns."""
    followed_options = replace(options, key=None, fallback=None)
    # The type of the last result that was complete; none where every result is looked at.
    known: type | None = NoneType if options.failure is None else None
    key = options.key

    @functools.wraps(function)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        nonlocal known
        call = begin() if key is None else begin(key(*args, **kwargs))
        if not call:
            if options.fallback is not None:
                return options.fallback(*args, **kwargs)
            raise FlowRejected(call.rejection())
        try:
            result = function(*args, **kwargs) if kwargs else function(*args)
        except BaseException as error:
            call.finish_with(error, options.ignore)
            raise
        kind = type(result)
        if kind is not known:
            if kind not in PLAIN:
                followed = _follow(result, call, followed_options)
                if followed is not None:
                    return followed
            if options.failure is None:
                known = kind
            elif options.failure(result):
                call.fail()
        call.finish()
        return result

    return guarded


# --- what a plain function returns ---------------------------------------------------------------------------


class _Begun:
    """A call that has begun, and goes on with what the function returned; nobody's fault if that is never used."""

    __slots__ = ("call", "options")

    def __init__(self, call: Call, options: Options) -> None:
        call.suspend()
        self.call = call
        self.options = options

    def resume(self) -> Call:
        self.call.resume()
        return self.call

    def ended(self, future: Any) -> None:
        """The future is done. It will not warn any more that its exception was never retrieved."""
        try:
            error = future.exception()
        except BaseException as cancelled:
            error = cancelled
        failure = self.options.failure
        if error is None and failure is not None and failure(future.result()):
            self.call.fail()
        self.finish_with(error)

    def finish_with(self, error: BaseException | None) -> None:
        self.call.finish_with(error, self.options.ignore)

    def __del__(self) -> None:
        self.call.ignore()
        self.call.finish()


def _follow(result: Any, call: Call, options: Options) -> Any:
    """What to return instead of ``result``, which ends ``call`` when it is done; None if it is done already."""
    kind = type(result)
    if kind is AsyncGeneratorType:
        return async_generator_function(lambda: result, _Begun(call, options).resume, options)()
    if kind is GeneratorType and not inspect.isawaitable(result):
        return generator_function(lambda: result, _Begun(call, options).resume, options)()
    if callable(getattr(kind, "add_done_callback", None)):
        result.add_done_callback(_Begun(call, options).ended)
        return result
    if inspect.iscoroutine(result):
        return coroutine_function(lambda: result, _Begun(call, options).resume, options)()
    if isinstance(result, ContextDecorator):
        return _Entered(result, call, options)
    if inspect.isawaitable(result):
        context = hasattr(kind, "__aenter__") and hasattr(kind, "__aexit__")
        return (_AwaitedContext if context else _Awaited)(result, call, options)
    if isinstance(result, AsyncContextDecorator):
        return _EnteredAsync(result, call, options)
    return None


class _Awaited(Coroutine[Any, Any, Any]):
    """Stands for something that can be awaited, and otherwise has its attributes."""

    def __init__(self, inner: Any, call: Call, options: Options) -> None:
        self._inner = inner
        self._begun = _Begun(call, options)
        self._running: Coroutine[Any, Any, Any] | None = None

    def _run(self) -> Coroutine[Any, Any, Any]:
        if self._running is None:
            inner = self._inner  # not self, which would be a cycle
            self._running = coroutine_function(lambda: inner, self._begun.resume, self._begun.options)()
        return self._running

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._run().__await__()

    def send(self, value: Any) -> Any:
        return self._run().send(value)

    def throw(self, *error: Any) -> Any:
        return self._run().throw(*error)

    def close(self) -> None:
        self._run().close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class _Entered(ContextDecorator):
    """Stands for what ``contextlib.contextmanager`` makes: in flight until it is left."""

    def __init__(self, inner: Any, call: Call, options: Options) -> None:
        self._inner = inner
        self._begun = _Begun(call, options)

    def __enter__(self) -> Any:
        self._begun.resume()
        try:
            return self._inner.__enter__()
        except BaseException as error:
            self._begun.finish_with(error)
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Any:
        try:
            swallowed = self._inner.__exit__(kind, error, trace)
        except BaseException as raised:
            self._begun.finish_with(raised)
            raise
        self._begun.finish_with(error)
        return swallowed


class _EnteredAsync(AsyncContextDecorator):
    """Likewise for what is entered with ``async with``."""

    def __init__(self, inner: Any, call: Call, options: Options) -> None:
        self._inner = inner
        self._begun = _Begun(call, options)

    async def __aenter__(self) -> Any:
        self._begun.resume()
        try:
            return await self._inner.__aenter__()
        except BaseException as error:
            self._begun.finish_with(error)
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Any:
        try:
            swallowed = await self._inner.__aexit__(kind, error, trace)
        except BaseException as raised:
            self._begun.finish_with(raised)
            raise
        self._begun.finish_with(error)
        return swallowed


class _AwaitedContext(_EnteredAsync, _Awaited):
    """What may be awaited as well as entered."""

    def __init__(self, inner: Any, call: Call, options: Options) -> None:
        _Awaited.__init__(self, inner, call, options)
