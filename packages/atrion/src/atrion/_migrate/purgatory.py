"""Factories of purgatory: their decorators and context managers become those of the engine."""

from __future__ import annotations

from collections.abc import Callable

import libcst as cst

from atrion._migrate.arguments import arguments_of, exception_classes, ignore_argument, is_none, route_name
from atrion._migrate.draft import Draft, Reference, Transaction, UnclearError, code_of
from atrion._migrate.exceptions import rewrite_exceptions

__all__ = ["KNOWN", "rewrite"]

FACTORIES = frozenset({"purgatory.AsyncCircuitBreakerFactory", "purgatory.SyncCircuitBreakerFactory"})
ERROR = "purgatory.domain.model.OpenedState"
KNOWN = FACTORIES | {ERROR}
BREAKER = ("circuit", "threshold", "ttl", "exclude")


def rewrite(draft: Draft, elsewhere: Callable[[str], str | None], prefix: str = "") -> None:
    """Gather the edits of one module."""
    makers = [reference for reference in draft.references if reference.name in FACTORIES]
    for maker in makers:
        try:
            if len(makers) > 1:
                raise UnclearError("the module has more than one factory")
            draft.commit(_factory(draft, maker, elsewhere))
        except UnclearError as unclear:
            draft.left += 1
            draft.mark(maker.node, f"{code_of(maker.node)} stays: {unclear}")
    rewrite_exceptions(draft, ERROR)
    for reference in draft.references:
        if reference.name not in KNOWN:
            draft.left += 1
            draft.mark(reference.node, f"{code_of(reference.node)} stays: it has no counterpart")


def _factory(draft: Draft, maker: Reference, elsewhere: Callable[[str], str | None]) -> Transaction:
    """The edits of a factory and all its uses.

    Raises:
        UnclearError: it needs a human.
    """
    call = draft.parent(maker.node)
    if not isinstance(call, cst.Call) or call.func is not maker.node:
        raise UnclearError("it is not called here")
    given = arguments_of(call, ("default_threshold", "default_ttl", "exclude", "uow"))
    if not is_none(given.get("uow")):
        raise UnclearError("its breakers are shared; a provider of the engine shares scars: see the page")
    place = draft.parent(call)
    assigned = draft.assigned(place)
    if assigned is None or len(assigned[1].body) != 1:
        raise UnclearError("only a factory that is a variable of the module is rewritten")
    variable, line = assigned
    where = elsewhere(f"import {variable}")
    if where is not None:
        raise UnclearError(f"{where} uses {variable}; import the engine there instead")
    edits = Transaction(consumed=[maker], names={"engine"})
    ignored = exception_classes(draft, given.get("exclude"))
    for node in draft.variable(place, variable):
        _use(draft, node, ignored, edits)
    if draft.has_engine():
        edits.replace(line, lambda _: cst.RemoveFromParent())
    else:
        draft.engine_at = line
    return edits


def _use(draft: Draft, node: cst.CSTNode, ignored: list[cst.BaseExpression], edits: Transaction) -> None:
    parent = draft.parent(node)
    line = draft.shown(node)
    if isinstance(parent, cst.Call) and parent.func is node:
        decorator = draft.parent(parent)
        if not isinstance(decorator, cst.Decorator) or not isinstance(
            draft.parent(decorator), cst.FunctionDef
        ):
            raise UnclearError(f"`{line}` calls it otherwise than as a decorator of a function")
        given = arguments_of(parent, BREAKER)
        route = route_name(given["circuit"]) if "circuit" in given else None
        if route is None:
            raise UnclearError(f"`{line}` names no circuit")
        classes = _excluded(draft, given, ignored)
        args = [cst.Arg(route), *ignore_argument(classes)]
        edits.replace(parent, lambda _: cst.Call(_attribute(draft.engine, "protect"), args))
        return
    call = draft.parent(parent)
    if not (isinstance(parent, cst.Attribute) and isinstance(call, cst.Call) and call.func is parent):
        raise UnclearError(f"`{line}` hands it on")
    around = draft.parent(call)
    awaited = isinstance(around, cst.Await)
    place = draft.parent(around) if awaited else around
    if parent.attr.value == "get_breaker" and isinstance(place, cst.WithItem):
        given = arguments_of(call, BREAKER)
        if "circuit" not in given:
            raise UnclearError(f"`{line}` names no circuit")
        if _excluded(draft, given, ignored):
            raise UnclearError(f"`{line}` excludes exceptions; call flow.ignore() in the block")
        flow = cst.Call(_attribute(draft.engine, "flow"), [cst.Arg(given["circuit"])])
        edits.replace(around if awaited else call, lambda _: flow)
    elif parent.attr.value == "initialize" and isinstance(place, cst.Expr):
        edits.replace(draft.parent(place), lambda _: cst.RemoveFromParent())
        if len(draft.parent(place).body) != 1:  # type: ignore[attr-defined]  # it is a line of statements
            raise UnclearError(f"`{line}` holds more than one statement")
    elif parent.attr.value in {"add_listener", "remove_listener"}:
        raise UnclearError(f"`{line}` has a listener; engine.observe(…) takes an Observer")
    else:
        raise UnclearError(f"`{line}` uses .{parent.attr.value} otherwise than in a with statement")


def _excluded(
    draft: Draft, given: dict[str, cst.BaseExpression], ignored: list[cst.BaseExpression]
) -> list[cst.BaseExpression]:
    """What one breaker excludes, and what the factory excludes for all."""
    return [*exception_classes(draft, given.get("exclude")), *ignored]


def _attribute(engine: str, name: str) -> cst.Attribute:
    return cst.Attribute(cst.Name(engine), cst.Name(name))
