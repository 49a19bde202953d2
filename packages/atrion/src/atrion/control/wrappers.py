"""Wrappers around functions of every kind, each of which keeps its kind, and what they do with what is returned."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Coroutine, Generator
from contextlib import AsyncContextDecorator, ContextDecorator
from types import AsyncGeneratorType, GeneratorType, NoneType, TracebackType
from typing import Any, Final

from atrion.control.flow import Flow
from atrion.errors import FlowRejected

__all__ = ["async_generator_function", "coroutine_function", "generator_function", "plain_function"]

Function = Callable[..., Any]
Enter = Callable[[], Flow]

PLAIN: Final = frozenset({bool, int, float, str, bytes, tuple, list, dict, set, NoneType})
"""Common types of results that are complete when the function returns."""


def coroutine_function(function: Function, enter: Enter) -> Function:
    """An ``async def``: each call passes ``enter``, and is in flight until it is done."""

    @functools.wraps(function)
    async def guarded(*args: Any, **kwargs: Any) -> Any:
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

    return guarded


def generator_function(function: Function, enter: Enter) -> Function:
    """A generator function: in flight from the first item asked for; its latency ends with that item."""

    @functools.wraps(function)
    def guarded(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        flow = enter()
        if not flow.open:
            raise FlowRejected(flow.rejection())
        try:
            generator = function(*args, **kwargs)
            item = next(generator)
            flow.answer()
            while True:
                flow.suspend()
                try:
                    sent = yield item
                except BaseException as error:
                    flow.resume()
                    if isinstance(error, GeneratorExit):
                        generator.close()
                        raise
                    item = generator.throw(error)
                else:
                    flow.resume()
                    item = generator.send(sent)
        except StopIteration as end:
            flow.finish()
            return end.value
        except BaseException as error:
            flow.leave(error)
            raise

    return guarded


def async_generator_function(function: Function, enter: Enter) -> Function:
    """Likewise for an asynchronous one."""

    @functools.wraps(function)
    async def guarded(*args: Any, **kwargs: Any) -> Any:
        flow = enter()
        if not flow.open:
            raise FlowRejected(flow.rejection())
        try:
            generator = function(*args, **kwargs)
            item = await anext(generator)
            flow.answer()
            while True:
                flow.suspend()
                try:
                    sent = yield item
                except BaseException as error:
                    flow.resume()
                    if isinstance(error, GeneratorExit):
                        await generator.aclose()
                        raise
                    item = await generator.athrow(error)
                else:
                    flow.resume()
                    item = await generator.asend(sent)
        except StopAsyncIteration:
            flow.finish()
        except BaseException as error:
            flow.leave(error)
            raise

    return guarded


def plain_function(function: Function, enter: Enter) -> Function:
    """Any other function, and what it returns."""
    known: type = NoneType  # of the last result that was complete

    @functools.wraps(function)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        nonlocal known
        flow = enter()
        if not flow.open:
            raise FlowRejected(flow.rejection())
        try:
            result = function(*args, **kwargs)
        except BaseException as error:
            flow.leave(error)
            raise
        kind = type(result)
        if kind is not known:
            if kind not in PLAIN:
                followed = _follow(result, flow)
                if followed is not None:
                    return followed
            known = kind
        flow.finish()
        return result

    return guarded


# --- what a plain function returns ---------------------------------------------------------------------------


class _Begun:
    """A call that has begun, and goes on with what the function returned; nobody's fault if that is never used."""

    __slots__ = ("flow",)

    def __init__(self, flow: Flow) -> None:
        flow.suspend()
        self.flow = flow

    def enter(self) -> Flow:
        self.flow.resume()
        return self.flow

    def ended(self, future: Any) -> None:
        """The future is done. It will not warn any more that its exception was never retrieved."""
        try:
            error = future.exception()
        except BaseException as cancelled:
            error = cancelled
        self.flow.leave(error)

    def __del__(self) -> None:
        self.flow.ignore()
        self.flow.finish()


def _follow(result: Any, flow: Flow) -> Any:
    """What to return instead of ``result``, which ends ``flow`` when it is done; None if it is done already."""
    kind = type(result)
    if kind is AsyncGeneratorType:
        return async_generator_function(lambda: result, _Begun(flow).enter)()
    if kind is GeneratorType and not inspect.isawaitable(result):
        return generator_function(lambda: result, _Begun(flow).enter)()
    if callable(getattr(kind, "add_done_callback", None)):
        result.add_done_callback(_Begun(flow).ended)
        return result
    if inspect.iscoroutine(result):
        return coroutine_function(lambda: result, _Begun(flow).enter)()
    if isinstance(result, ContextDecorator):
        return _Entered(result, flow)
    if inspect.isawaitable(result):
        context = hasattr(kind, "__aenter__") and hasattr(kind, "__aexit__")
        return (_AwaitedContext if context else _Awaited)(result, flow)
    if isinstance(result, AsyncContextDecorator):
        return _EnteredAsync(result, flow)
    return None


class _Awaited(Coroutine[Any, Any, Any]):
    """Stands for something that can be awaited, and otherwise has its attributes."""

    def __init__(self, inner: Any, flow: Flow) -> None:
        self._inner = inner
        self._begun = _Begun(flow)
        self._running: Coroutine[Any, Any, Any] | None = None

    def _run(self) -> Coroutine[Any, Any, Any]:
        if self._running is None:
            inner = self._inner  # not self, which would be a cycle
            self._running = coroutine_function(lambda: inner, self._begun.enter)()
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

    def __init__(self, inner: Any, flow: Flow) -> None:
        self._inner = inner
        self._begun = _Begun(flow)

    def __enter__(self) -> Any:
        flow = self._begun.enter()
        try:
            return self._inner.__enter__()
        except BaseException as error:
            flow.leave(error)
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Any:
        try:
            swallowed = self._inner.__exit__(kind, error, trace)
        except BaseException as raised:
            self._begun.flow.leave(raised)
            raise
        self._begun.flow.leave(error)
        return swallowed


class _EnteredAsync(AsyncContextDecorator):
    """Likewise for what is entered with ``async with``."""

    def __init__(self, inner: Any, flow: Flow) -> None:
        self._inner = inner
        self._begun = _Begun(flow)

    async def __aenter__(self) -> Any:
        flow = self._begun.enter()
        try:
            return await self._inner.__aenter__()
        except BaseException as error:
            flow.leave(error)
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Any:
        try:
            swallowed = await self._inner.__aexit__(kind, error, trace)
        except BaseException as raised:
            self._begun.flow.leave(raised)
            raise
        self._begun.flow.leave(error)
        return swallowed


class _AwaitedContext(_EnteredAsync, _Awaited):
    """What may be awaited as well as entered."""

    def __init__(self, inner: Any, flow: Flow) -> None:
        _Awaited.__init__(self, inner, flow)
