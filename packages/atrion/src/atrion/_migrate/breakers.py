"""Breakers of pybreaker, aiobreaker and circuitbreaker become guards of a route."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import libcst as cst

from atrion._migrate import listeners
from atrion._migrate.arguments import (
    arguments_of,
    exception_classes,
    ignore_argument,
    is_none,
    is_plain_function,
    keyword,
    may_be_class,
    route_name,
)
from atrion._migrate.draft import Draft, Reference, Transaction, UnclearError, code_of
from atrion._migrate.exceptions import rewrite_exceptions

__all__ = ["AIOBREAKER", "CIRCUITBREAKER", "PYBREAKER", "BreakerLibrary", "rewrite"]

STATE = "read atrion.snapshot()[route].mode instead"
FORCE = "atrion.testing.force_open(engine, route) opens a breaker, and engine.reset(route) forgets what was learnt"
UNUSED = "a route learns when to shed, so nothing is set"
COUNTERPARTS = {
    **dict.fromkeys(("state", "current_state", "opened", "closed", "opens_at", "open_until"), STATE),
    **dict.fromkeys(("fail_counter", "success_counter", "failure_count", "last_failure"), STATE),
    **dict.fromkeys(("time_until_open", "open_remaining"), "FlowRejected has decision.retry_after"),
    "sleep_until_open": "FlowRejected has decision.retry_after",
    **dict.fromkeys(("open", "close", "half_open", "reset"), FORCE),
    **dict.fromkeys(("fail_max", "reset_timeout", "timeout_duration", "success_threshold"), UNUSED),
    "add_excluded_exception": "give ignore=(…) where the guard is made",
    "add_excluded_exceptions": "give ignore=(…) where the guard is made",
    "remove_excluded_exception": "give ignore=(…) where the guard is made",
}


@dataclass(frozen=True)
class BreakerLibrary:
    """What a library calls its things."""

    name: str
    constructors: Mapping[str, tuple[str, ...]]
    """Qualified names of what makes a breaker, with their parameters in order."""
    error: str
    exclude: str = "exclude"
    calls: tuple[str, ...] = ("call",)
    context: str | None = None
    """The method that gives a context manager; None where there is none, "" where the breaker is one itself."""
    bare: frozenset[str] = frozenset()
    """Constructors that also decorate without being called."""
    listener: listeners.ListenerLibrary | None = None
    others: tuple[str, ...] = ()
    reasons: Mapping[str, str] = field(default_factory=dict)

    def known(self) -> set[str]:
        """Every qualified name that is rewritten."""
        listener = self.listener.known() if self.listener is not None else set()
        return {*self.constructors, self.error, *listener, *self.reasons}


PYBREAKER = BreakerLibrary(
    name="pybreaker",
    constructors={
        "pybreaker.CircuitBreaker": (
            "fail_max",
            "reset_timeout",
            "success_threshold",
            "exclude",
            "listeners",
            "state_storage",
            "name",
            "throw_new_error_on_trip",
        )
    },
    error="pybreaker.CircuitBreakerError",
    calls=("call", "call_async"),
    context="calling",
    listener=listeners.ListenerLibrary("pybreaker.CircuitBreakerListener", "pybreaker.STATE_OPEN"),
)
AIOBREAKER = BreakerLibrary(
    name="aiobreaker",
    constructors={
        "aiobreaker.CircuitBreaker": (
            "fail_max",
            "timeout_duration",
            "exclude",
            "listeners",
            "state_storage",
            "name",
        )
    },
    error="aiobreaker.CircuitBreakerError",
    calls=("call", "call_async"),
    listener=listeners.ListenerLibrary(
        "aiobreaker.CircuitBreakerListener", "aiobreaker.CircuitBreakerState.OPEN"
    ),
)
_CIRCUIT = ("failure_threshold", "recovery_timeout", "expected_exception", "name", "fallback_function")
CIRCUITBREAKER = BreakerLibrary(
    name="circuitbreaker",
    constructors={
        "circuitbreaker.circuit": (*_CIRCUIT, "cls"),
        "circuitbreaker.CircuitBreaker": _CIRCUIT,
    },
    error="circuitbreaker.CircuitBreakerError",
    calls=("call", "call_async"),
    context="",
    bare=frozenset({"circuitbreaker.circuit"}),
    reasons={"circuitbreaker.CircuitBreakerMonitor": "the monitor of all breakers is engine.snapshot()"},
)


@dataclass
class _Guard:
    """What a breaker becomes."""

    name: cst.BaseExpression | None
    ignore: list[cst.BaseExpression]
    fallback: cst.BaseExpression | None
    listeners: list[cst.BaseExpression]

    def protect(self, engine: str) -> cst.BaseExpression:
        """``engine.protect(…)``; bare where there is nothing to tell it."""
        function = cst.Attribute(cst.Name(engine), cst.Name("protect"))
        args = [] if self.name is None else [cst.Arg(self.name.deep_clone())]
        args += ignore_argument(self.ignore)
        if self.fallback is not None:
            args.append(keyword("fallback", self.fallback.deep_clone()))
        return cst.Call(function, args) if args else function

    def flow(self, engine: str) -> cst.Call:
        """``engine.flow(…)``.

        Raises:
            UnclearError: it cannot do what the breaker did.
        """
        if self.ignore or self.fallback is not None or self.name is None:
            raise UnclearError(
                "engine.flow(…) takes neither exceptions to ignore nor a fallback; call flow.ignore() in the block"
            )
        return cst.Call(cst.Attribute(cst.Name(engine), cst.Name("flow")), [cst.Arg(self.name.deep_clone())])


def rewrite(
    library: BreakerLibrary, draft: Draft, elsewhere: Callable[[str], str | None], prefix: str = ""
) -> None:
    """Gather the edits of one module.

    Args:
        library: The library.
        draft: The module.
        elsewhere: Where another file uses a breaker of this module in a way that a guard does not offer, or None.
        prefix: What the names of routes begin with that are made of a variable's name.
    """
    makers = [reference for reference in draft.references if reference.name in library.constructors]
    alone = sum(isinstance(draft.parent(maker.node), cst.Call) for maker in makers) == 1
    for maker in makers:
        try:
            draft.commit(_breaker(library, draft, maker, elsewhere, prefix, alone))
        except UnclearError as unclear:
            draft.left += 1
            draft.mark(maker.node, f"{code_of(maker.node)} stays: {unclear}")
    rewrite_exceptions(draft, library.error)
    for reference in draft.references:
        if reference.name in library.constructors or reference.name == library.error:
            continue
        if not draft.consumed(reference):
            draft.left += 1
            reason = library.reasons.get(reference.name, f"{reference.name} has no counterpart")
            draft.mark(reference.node, f"{code_of(reference.node)} stays: {reason}")


def _breaker(
    library: BreakerLibrary,
    draft: Draft,
    maker: Reference,
    elsewhere: Callable[[str], str | None],
    prefix: str,
    alone: bool,
) -> Transaction:
    """The edits of one breaker and all its uses.

    Raises:
        UnclearError: it needs a human.
    """
    edits = Transaction(consumed=[maker], names={"engine"})
    parent = draft.parent(maker.node)
    if isinstance(parent, cst.Decorator) and maker.name in library.bare:
        _check_decorated(draft, parent, None)
        edits.replace(maker.node, lambda _: _Guard(None, [], None, []).protect(draft.engine))
        return edits
    if not isinstance(parent, cst.Call) or parent.func is not maker.node:
        raise UnclearError("it is neither called nor a decorator here")
    guard = _guard(library, draft, maker.name, parent)
    place = draft.parent(parent)
    if isinstance(place, cst.Decorator):
        if guard.listeners:
            raise UnclearError("a listener of a breaker that has no variable")
        _check_decorated(draft, place, guard.fallback)
        edits.replace(parent, lambda _: guard.protect(draft.engine))
        return edits
    if isinstance(place, cst.WithItem) and library.context == "":
        if guard.name is None:
            raise UnclearError("it has no name, and a route needs one")
        edits.replace(parent, lambda _: guard.flow(draft.engine))
        return edits
    assigned = draft.assigned(place)
    if assigned is None:
        raise UnclearError("only a breaker that is a variable of the module, or a decorator, is rewritten")
    variable, line = assigned
    where = elsewhere(variable)
    if where is not None:
        raise UnclearError(f"{where} uses {variable} otherwise than as a decorator")
    if guard.name is None:
        guard.name = cst.SimpleString(f'"{prefix}{variable}"')
    for node in draft.variable(place, variable):
        _use(library, draft, node, guard, edits)
    edits.replace(parent, lambda _: guard.protect(draft.engine))
    if guard.listeners:
        if not alone or library.listener is None:
            raise UnclearError(
                "its listener would hear the other breakers too: an observer hears the whole engine"
            )
        listeners.rewrite(library.listener, draft, guard.listeners, line, edits)
    return edits


def _guard(library: BreakerLibrary, draft: Draft, name: str, call: cst.Call) -> _Guard:
    given = arguments_of(call, library.constructors[name])
    if not is_none(given.get("state_storage")) and "state_storage" in given:
        storage = given["state_storage"]
        if not (isinstance(storage, cst.Call) and code_of(storage.func).endswith("CircuitMemoryStorage")):
            raise UnclearError("its storage is shared; a provider of the engine shares scars: see the page")
        raise UnclearError("it has a storage of its own; leave it out, an engine remembers by itself")
    expected = given.get("expected_exception")
    if not is_none(expected) and not (isinstance(expected, cst.Name) and expected.value == "Exception"):
        raise UnclearError(
            "expected_exception= has no counterpart: every exception is a failure but those of ignore=(…); say which "
            "those are"
        )
    if not is_none(given.get("cls")):
        raise UnclearError("it is of a class of your own")
    label = given.get("name")
    fallback = given.get("fallback_function")
    heard = given.get("listeners")
    if not is_none(heard) and not isinstance(heard, cst.List | cst.Tuple):
        raise UnclearError("its listeners are not a list in the source")
    return _Guard(
        None if label is None or is_none(label) else route_name(label),
        exception_classes(draft, given.get(library.exclude)),
        None if is_none(fallback) else fallback,
        [element.value for element in heard.elements] if isinstance(heard, cst.List | cst.Tuple) else [],
    )


def _check_decorated(draft: Draft, decorator: cst.Decorator, fallback: cst.BaseExpression | None) -> None:
    """Refuse what ``protect`` refuses when decorating."""
    function = draft.parent(decorator)
    if not isinstance(function, cst.FunctionDef):
        raise UnclearError("a class cannot be guarded, its methods can")
    below = function.decorators[function.decorators.index(decorator) + 1 :]
    for other in below:
        name = draft.name_of(other.decorator) or ""
        if name.rpartition(".")[2] in {"property", "cached_property"}:
            raise UnclearError("it decorates a property; put it below @property")
    if fallback is not None and function.asynchronous is None and not is_plain_function(draft, fallback):
        raise UnclearError(
            "a plain function's fallback must be plain too, and nobody can tell here whether it is"
        )


def _use(library: BreakerLibrary, draft: Draft, node: cst.CSTNode, guard: _Guard, edits: Transaction) -> None:
    """The edits of one use of a breaker's variable."""
    parent = draft.parent(node)
    if isinstance(parent, cst.Decorator):
        _check_decorated(draft, parent, guard.fallback)
    elif isinstance(parent, cst.WithItem) and library.context == "":
        edits.replace(node, lambda _: guard.flow(draft.engine))
        guard.flow(draft.engine)
    elif isinstance(parent, cst.Call) and parent.func is node:
        _called(draft, node, parent, guard, edits)
    elif isinstance(parent, cst.Attribute) and parent.value is node:
        _attribute(library, draft, node, parent, guard, edits)
    else:
        raise UnclearError(f"`{draft.shown(node)}` hands it on")


def _called(draft: Draft, node: cst.CSTNode, call: cst.Call, guard: _Guard, edits: Transaction) -> None:
    """``breaker()`` as a decorator, or ``breaker(function)``."""
    place = draft.parent(call)
    options = {arg.keyword.value if arg.keyword is not None else "" for arg in call.args}
    if isinstance(place, cst.Decorator):
        if options - {"__pybreaker_call_async"}:
            raise UnclearError(f"`{draft.shown(call)}` decorates with an option")
        _check_decorated(draft, place, guard.fallback)
        edits.replace(call, lambda updated: updated.func)
    elif options != {""} or len(call.args) != 1 or call.args[0].star or guard.fallback is not None:
        raise UnclearError(f"`{draft.shown(call)}` calls it in a way that is not known")
    elif may_be_class(draft, call.args[0].value):
        raise UnclearError(f"`{draft.shown(call)}` may guard a class")


def _attribute(
    library: BreakerLibrary,
    draft: Draft,
    node: cst.CSTNode,
    attribute: cst.Attribute,
    guard: _Guard,
    edits: Transaction,
) -> None:
    """``breaker.call(function, …)``, ``with breaker.calling()`` and the like."""
    name = attribute.attr.value
    call = draft.parent(attribute)
    line = draft.shown(node)
    called = isinstance(call, cst.Call) and call.func is attribute
    if called and isinstance(call, cst.Call):
        if name in library.calls:
            _check_call(draft, call, guard)
            edits.replace(call, _direct)
            return
        if library.context and name == library.context and isinstance(draft.parent(call), cst.WithItem):
            guard.flow(draft.engine)
            edits.replace(call, lambda _: guard.flow(draft.engine))
            return
        statement = draft.parent(draft.parent(call))
        if name == "add_listener" and draft.is_global(statement) and len(call.args) == 1:
            guard.listeners.append(call.args[0].value)
            edits.replace(statement, lambda _: cst.RemoveFromParent())
            return
        if library.name == "circuitbreaker" and name == "decorate" and len(call.args) == 1:
            edits.replace(call, lambda _: call.with_changes(func=attribute.value))
            if may_be_class(draft, call.args[0].value):
                raise UnclearError(f"`{line}` may guard a class")
            return
    raise UnclearError(f"`{line}` uses .{name}; {COUNTERPARTS.get(name, 'a guard has no such attribute')}")


def _check_call(draft: Draft, call: cst.Call, guard: _Guard) -> None:
    line = draft.shown(call)
    if not call.args or call.args[0].star or call.args[0].keyword is not None:
        raise UnclearError(f"`{line}` calls something that is not named there")
    if may_be_class(draft, call.args[0].value):
        raise UnclearError(f"`{line}` may guard a class")
    if guard.fallback is not None and not is_plain_function(draft, guard.fallback):
        raise UnclearError(f"`{line}` calls with a fallback that may be async")


def _direct(call: cst.Call) -> cst.Call:
    """``breaker.call(function, …)`` as ``breaker(function)(…)``."""
    assert isinstance(call.func, cst.Attribute)
    first, *rest = call.args
    guarded = cst.Call(call.func.value, [first.with_changes(comma=cst.MaybeSentinel.DEFAULT)])
    function = guarded.with_changes(lpar=call.func.lpar, rpar=call.func.rpar)
    return call.with_changes(func=function, args=rest)
