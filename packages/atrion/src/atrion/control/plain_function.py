"""The wrapper of plain functions, which may also return something that is awaited, iterated or entered later."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Coroutine, Generator
from contextlib import AsyncContextDecorator, ContextDecorator
from dataclasses import replace
from types import AsyncGeneratorType, GeneratorType, NoneType, TracebackType
from typing import Any, Final

from atrion.control.call import Call
from atrion.control.wrappers import (
    NO_OPTIONS,
    Begin,
    Function,
    Options,
    async_generator_function,
    coroutine_function,
    generator_function,
)
from atrion.errors import FlowRejected

__all__ = ["plain_function"]

PLAIN: Final = frozenset({bool, int, float, str, bytes, tuple, list, dict, set, NoneType})
"""Common types of results that are complete when the function returns."""


def plain_function(function: Function, begin: Begin, options: Options = NO_OPTIONS) -> Function:
    """Wrap any other function: a call is in flight until the function's result is complete."""
    followed_options = replace(options, key=None, fallback=None)
    # The type of the last complete result; None if every result has to be examined.
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


class _Begun:
    """A call in flight that goes on with the function's result; it ends as ignored if the result is never used."""

    __slots__ = ("call", "options")

    def __init__(self, call: Call, options: Options) -> None:
        call.suspend()
        self.call = call
        self.options = options

    def resume(self) -> Call:
        self.call.resume()
        return self.call

    def ended(self, future: Any) -> None:
        """End the call with its future. Reading the exception also silences asyncio's "never retrieved" warning."""
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
    """What to return instead of ``result`` so that ``call`` ends with it; None if the result is complete already."""
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
    """Wraps an awaitable and forwards its attributes."""

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
    """Wraps a context manager of ``contextlib.contextmanager``: the call ends when the context is left."""

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
    """Wraps an asynchronous one in the same way."""

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
    """Wraps an object that can be awaited as well as entered."""

    def __init__(self, inner: Any, call: Call, options: Options) -> None:
        _Awaited.__init__(self, inner, call, options)
