"""``@atrion.protect(...)``: a guarded call around every call of a function of any kind."""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final, TypeVar

from atrion.control.base import CallFactory, EngineBase
from atrion.control.plain_function import plain_function
from atrion.control.settings import check_name
from atrion.control.wrappers import (
    Begin,
    Options,
    async_generator_function,
    coroutine_function,
    generator_function,
)
from atrion.errors import ConfigurationError
from atrion.physics.voltage import TierLike, band, level_of
from atrion.sensing.costs import check_cost

__all__ = ["BY_NAME", "decorator", "options_from", "protect", "qualified_name"]

logger: logging.Logger = logging.getLogger("atrion")

F = TypeVar("F", bound=Callable[..., Any])

BY_NAME: Final = object()
"""In place of a route id: the qualified name of the function is the id."""
OWN_TIER: Final = -1.0
"""In place of the volts at which a tier's band begins: the tier is the route's own."""


def decorator(engine: EngineBase, route_id: Any, tier: TierLike | None, options: Options) -> Any:
    """The decorator of a route, or the decorated function if ``route_id`` is a function.

    Raises:
        ConfigurationError: an unusable route id or tier, or a function that cannot be guarded.
    """
    start = OWN_TIER if tier is None else band(level_of(tier))

    def calls(name: str) -> CallFactory:
        route = engine.find(name)
        route.pinned = True
        return CallFactory(route, start, engine)

    if engine.disabled:
        return _unchanged if isinstance(route_id, str) or route_id is BY_NAME else route_id
    if isinstance(route_id, str):
        factory = calls(route_id)
        return lambda function: protect(function, factory, options)
    if route_id is BY_NAME:
        return lambda function: protect(function, calls(qualified_name(function)), options)
    if not (callable(route_id) or hasattr(route_id, "__get__")):
        check_name("route_id", route_id)
    return protect(route_id, calls(qualified_name(route_id)), options)  # a bare @atrion.protect


def _unchanged(function: F) -> F:
    return function


def qualified_name(function: Any) -> str:
    """The qualified name of a function, such as ``Class.method``, or the class's name of another callable.

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


def options_from(key: Any, cost: Any, ignore: Any, failure: Any, fallback: Any) -> Options:
    """The options of ``protect``.

    Raises:
        ConfigurationError: one of them is unusable.
    """
    classes = ignore if isinstance(ignore, tuple) else (ignore,)
    for kind in classes:
        if not (isinstance(kind, type) and issubclass(kind, BaseException)):
            raise ConfigurationError("ignore", kind, "give exception classes, such as (ValueError,)")
    if fallback is not None and not callable(fallback):
        raise ConfigurationError("fallback", fallback, "give a function of the same arguments")
    key = _checked("key", key, "of the call's arguments that returns the caller's name or None")
    if cost is not None:
        cost = _checked("cost", cost, "of the call's arguments that returns its cost", check_cost)
    failure = _checked("failure", failure, "of the result that says whether it is a failure")
    return Options(key, classes, failure, fallback, cost)


def _key_and_cost(key: Any, cost: Any) -> Any:
    """A function of the call's arguments that returns both."""

    def both(*args: Any, **kwargs: Any) -> tuple[Any, Any]:
        return None if key is None else key(*args, **kwargs), cost(*args, **kwargs)

    return both


def _checked(name: str, function: Any, what: str, check: Callable[[Any], Any] | None = None) -> Any:
    """A user's function, wrapped: if it or the ``check`` of its result raises, it returns None.

    The first failure is logged.
    """
    if function is None:
        return None
    if not callable(function):
        raise ConfigurationError(name, function, f"give a function {what}")
    if _is(inspect.iscoroutinefunction, function):
        raise ConfigurationError(name, function, f"give a plain function {what}, not an async one")
    failed = False

    @functools.wraps(function, assigned=())
    def checked(*args: Any, **kwargs: Any) -> Any:
        nonlocal failed
        try:
            result = function(*args, **kwargs)
            return result if check is None or result is None else check(result)
        except Exception:
            if not failed:
                failed = True
                logger.warning(
                    "%s=%r of a protected function failed; its calls go on", name, function, exc_info=True
                )
            return None

    return checked


def protect(function: F, calls: CallFactory, options: Options) -> F:
    """Wrap a function so that every call is made by ``calls``.

    A call is in flight until its coroutine is done or its generator is exhausted, closed or has failed; a generator's
    latency ends with its first item. The same holds for an awaitable, generator, future or ``contextlib`` context
    manager that the function returns.

    Raises:
        ConfigurationError: it cannot be guarded, or not with such options.
    """
    _check(function)
    if isinstance(function, (staticmethod, classmethod)):
        return type(function)(protect(function.__func__, calls, options))
    if _is(inspect.iscoroutinefunction, function):
        make = coroutine_function
    elif _is(inspect.isasyncgenfunction, function):
        make = async_generator_function
    elif _is(_is_generator_function, function):
        make = generator_function
    else:
        make = plain_function
    _check_options(options, make)
    begin: Begin = calls.begin if options.key is None else calls.begin_keyed
    if options.cost is not None:
        begin = calls.begin_costed
        options = replace(options, key=_key_and_cost(options.key, options.cost))
    return make(function, begin, options)  # type: ignore[return-value]  # it has the wrapped one's signature


def _check_options(options: Options, make: object) -> None:
    """Refuse what goes with other kinds of functions only."""
    generates = make in {generator_function, async_generator_function}
    if generates and options.failure is not None:
        raise ConfigurationError(
            "failure", options.failure, "leave it out: a generator has no result to judge"
        )
    fallback = options.fallback
    if make is plain_function or make is generator_function:
        for kind in (inspect.iscoroutinefunction, inspect.isasyncgenfunction):
            if fallback is not None and _is(kind, fallback):
                raise ConfigurationError(
                    "fallback",
                    fallback,
                    "give a plain function, because the protected function is not async",
                )
