"""``@atrion.protect(...)``: a guard around every call of a function of any kind."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable, Coroutine, Generator
from types import AsyncGeneratorType, GeneratorType, NoneType, TracebackType
from typing import Any, Final, TypeVar

from atrion.control.flow import Flow, Gate
from atrion.errors import ConfigurationError, FlowRejected

__all__ = ["protect", "qualified_name"]

F = TypeVar("F", bound=Callable[..., Any])
Function = Callable[..., Any]
Enter = Callable[[], Flow]

PLAIN: Final = frozenset({bool, int, float, str, bytes, tuple, list, dict, set, NoneType})
"""Common types of results that are complete when the function returns."""


def qualified_name(function: Any) -> str:
    """The name by which a function is known, such as ``Class.method``; an object without one has its class's.

    Raises:
        ConfigurationError: it cannot be guarded.
    """
    _check(function)
    function = _unwrapped(function)
    name = getattr(function, "__qualname__", None)
    return name if isinstance(name, str) else type(function).__qualname__


def _unwrapped(function: Any) -> Any:
    while isinstance(function, functools.partial):
        function = function.func
    return function


def _check(function: object) -> None:
    """Refuse what cannot be guarded."""
    if isinstance(function, (property, functools.cached_property)):
        cure = "put @atrion.protect below @property, around the function"
    elif isinstance(function, type):
        cure = "protect its methods, or a function that makes the object"
    elif not callable(function) and not isinstance(function, classmethod):
        cure = "give a function or another callable"
    else:
        return
    raise ConfigurationError("the protected function", function, cure)


def _is(kind: Callable[[Any], bool], function: Any) -> bool:
    """Whether ``function`` is of a ``kind``, or an object whose ``__call__`` is."""
    function = _unwrapped(function)
    return kind(function) or (not inspect.isroutine(function) and kind(type(function).__call__))


def _is_generator_function(function: Any) -> bool:
    """Whether its calls are iterated; those of a function made by ``types.coroutine`` are awaited."""
    code = getattr(function, "__code__", None)
    old_coroutine = code is not None and code.co_flags & inspect.CO_ITERABLE_COROUTINE
    return inspect.isgeneratorfunction(function) and not old_coroutine


def protect(function: F, gate: Gate) -> F:
    """Wrap a function so that every call passes ``gate``.

    A call is in flight until its coroutine is done or its generator is exhausted, closed or has failed, and a
    generator's latency ends with its first item. What a function returns is followed likewise where it can be
    awaited, or is a generator or a future.

    Raises:
        ConfigurationError: it cannot be guarded.
    """
    _check(function)
    if isinstance(function, (staticmethod, classmethod)):
        return type(function)(protect(function.__func__, gate))
    if _is(inspect.iscoroutinefunction, function):
        make = _coroutine_function
    elif _is(inspect.isasyncgenfunction, function):
        make = _async_generator_function
    elif _is(_is_generator_function, function):
        make = _generator_function
    else:
        make = _function
    return make(function, gate.enter)  # type: ignore[return-value]  # it has the wrapped one's signature


def _coroutine_function(function: Function, enter: Enter) -> Function:
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


def _generator_function(function: Function, enter: Enter) -> Function:
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


def _async_generator_function(function: Function, enter: Enter) -> Function:
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


def _function(function: Function, enter: Enter) -> Function:
    known: type = NoneType  # of the last result that was complete, besides the common ones

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
        if kind is not known and kind not in PLAIN:
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

    __slots__ = ("_flow",)

    def __init__(self, flow: Flow) -> None:
        flow.suspend()
        self._flow = flow

    def enter(self) -> Flow:
        self._flow.resume()
        return self._flow

    def ended(self, future: Any) -> None:
        """The future is done. It will not warn any more that its exception was never retrieved."""
        try:
            error = future.exception()
        except BaseException as cancelled:
            error = cancelled
        self._flow.leave(error)

    def __del__(self) -> None:
        self._flow.ignore()
        self._flow.finish()


def _follow(result: Any, flow: Flow) -> Any:
    """What to return instead of ``result``, which ends ``flow`` when it is done; None if it is done already."""
    kind = type(result)
    if kind is AsyncGeneratorType:
        return _async_generator_function(lambda: result, _Begun(flow).enter)()
    if kind is GeneratorType and not inspect.isawaitable(result):
        return _generator_function(lambda: result, _Begun(flow).enter)()
    if callable(getattr(kind, "add_done_callback", None)):
        result.add_done_callback(_Begun(flow).ended)
        return result
    if inspect.iscoroutine(result):
        return _coroutine_function(lambda: result, _Begun(flow).enter)()
    if inspect.isawaitable(result):
        context = hasattr(kind, "__aenter__") and hasattr(kind, "__aexit__")
        return (_AwaitedContext if context else _Awaited)(result, flow)
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
            self._running = _coroutine_function(lambda: inner, self._begun.enter)()
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


class _AwaitedContext(_Awaited):
    """Likewise for what may also be entered with ``async with``, and then is in flight until it is left."""

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
            swallowed: Awaitable[Any] = await self._inner.__aexit__(kind, error, trace)
        except BaseException as raised:
            self._begun.enter().leave(raised)
            raise
        self._begun.enter().leave(error)
        return swallowed
