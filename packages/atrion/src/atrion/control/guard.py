"""``@atrion.protect(...)``: a guard around every call of a function of any kind."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from atrion.control.base import CallFactory
from atrion.control.wrappers import (
    async_generator_function,
    coroutine_function,
    generator_function,
    plain_function,
)
from atrion.errors import ConfigurationError

__all__ = ["protect", "qualified_name"]

F = TypeVar("F", bound=Callable[..., Any])


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


def protect(function: F, calls: CallFactory) -> F:
    """Wrap a function so that every call is made by ``calls``.

    A call is in flight until its coroutine is done or its generator is exhausted, closed or has failed, and a
    generator's latency ends with its first item. What a function returns is followed likewise where it can be
    awaited, is a generator or a future, or was made by ``contextlib.contextmanager`` and is entered.

    Raises:
        ConfigurationError: it cannot be guarded.
    """
    _check(function)
    if isinstance(function, (staticmethod, classmethod)):
        return type(function)(protect(function.__func__, calls))
    if _is(inspect.iscoroutinefunction, function):
        make = coroutine_function
    elif _is(inspect.isasyncgenfunction, function):
        make = async_generator_function
    elif _is(_is_generator_function, function):
        make = generator_function
    else:
        make = plain_function
    return make(function, calls.enter)  # type: ignore[return-value]  # it has the wrapped one's signature
