"""Listeners of a breaker's changes of state become observers of a route's transitions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import libcst as cst

from atrion._migrate.draft import Draft, Transaction, UnclearError, code_of

__all__ = ["ListenerLibrary", "rewrite"]

HEARD = "state_change"


@dataclass(frozen=True)
class ListenerLibrary:
    """What a library calls its listeners."""

    base: str
    open_state: str
    """The constant that an open breaker's state is compared with."""

    def known(self) -> set[str]:
        """The qualified names that are rewritten."""
        return {self.base, self.open_state}


def rewrite(
    library: ListenerLibrary,
    draft: Draft,
    made: Sequence[cst.BaseExpression],
    line: cst.SimpleStatementLine,
    edits: Transaction,
) -> None:
    """Turn the listeners of a breaker into observers, which begin to hear after ``line``.

    Raises:
        UnclearError: one of them does more than to hear of changes of state.
    """
    observed = []
    for listener in made:
        if not isinstance(listener, cst.Call) or not isinstance(listener.func, cst.Name):
            raise UnclearError("its listener is not made where it is given")
        name = listener.func.value
        definitions = [
            found for found in draft.bound(name) if isinstance(getattr(found, "node", None), cst.ClassDef)
        ]
        if len(definitions) != 1 or len(draft.bound(name)) != 1:
            raise UnclearError(f"its listener {name} is not a class of this module")
        if any(draft.parent(access.node) is not listener for access in definitions[0].references):
            raise UnclearError(f"its listener {name} is used for something else as well")
        kind = definitions[0].node  # type: ignore[attr-defined]  # it is an assignment, as was asked above
        _class(library, draft, kind, edits)
        observed.append(code_of(listener))
    lines = [cst.parse_statement(f"{draft.engine}.observe({code})") for code in observed]
    edits.replace(line, lambda updated: cst.FlattenSentinel([updated, *lines]))


def _class(library: ListenerLibrary, draft: Draft, kind: cst.ClassDef, edits: Transaction) -> None:
    bases = [reference for reference in draft.references if reference.name == library.base]
    base = next((found for found in bases if draft.parent(draft.parent(found.node)) is kind), None)
    if base is None or len(kind.bases) != 1:
        raise UnclearError(f"its listener {kind.name.value} has other bases")
    method: cst.FunctionDef | None = None
    for statement in kind.body.body:
        if isinstance(statement, cst.FunctionDef) and statement.name.value != "__init__":
            if statement.name.value != HEARD:
                raise UnclearError(
                    f"its listener hears {statement.name.value}; an observer hears ticks, decisions and transitions"
                )
            method = statement
    if method is None or len(method.params.params) != 4 or method.decorators:
        raise UnclearError(f"its listener {kind.name.value} does not hear {HEARD}(breaker, old, new)")
    edits.names.add("Observer")
    edits.consumed.append(base)
    edits.replace(base.node, lambda _: cst.Name("Observer"))
    _method(library, draft, method, edits)


def _method(library: ListenerLibrary, draft: Draft, method: cst.FunctionDef, edits: Transaction) -> None:
    own, breaker, old, new = (param.name.value for param in method.params.params)
    fields = {breaker: "route", old: "before.name", new: "after.name"}
    inner = draft.scope_of(method.body.body[0])
    if inner is None:
        raise UnclearError(f"{HEARD} is empty")
    for reference in draft.references:
        if reference.name != library.base and method in set(draft.around(reference.node)):
            if not _in_params(draft, reference.node, method) and reference.name != library.open_state:
                raise UnclearError(f"`{draft.shown(reference.node)}` uses {reference.name}")
            edits.consumed.append(reference)
    for name, field in fields.items():
        for assignment in inner[name]:
            for access in assignment.references:
                _value(library, draft, access.node, field, edits)
    params = cst.Parameters([cst.Param(cst.Name(own)), cst.Param(cst.Name("transition"))])
    if inner["transition"]:
        raise UnclearError(f"{HEARD} uses the name transition")
    edits.replace(method, lambda updated: updated.with_changes(name=cst.Name("on_transition"), params=params))


def _in_params(draft: Draft, node: cst.CSTNode, method: cst.FunctionDef) -> bool:
    return method.params in set(draft.around(node))


def _value(library: ListenerLibrary, draft: Draft, node: cst.CSTNode, field: str, edits: Transaction) -> None:
    """``new.name`` as ``transition.after.name``, and its comparison with the open state."""
    attribute = draft.parent(node)
    if isinstance(attribute, cst.Attribute) and attribute.attr.value == "state" and field != "route":
        attribute = (
            draft.parent(attribute) if isinstance(draft.parent(attribute), cst.Attribute) else attribute
        )
    line = draft.shown(node)
    if not isinstance(attribute, cst.Attribute) or attribute.attr.value not in {"name", "state"}:
        raise UnclearError(f"`{line}` reads more of a change of state than names")
    comparison = draft.parent(attribute)
    if isinstance(comparison, cst.Comparison) and field != "route":
        targets = comparison.comparisons
        if comparison.left is not attribute or len(targets) != 1:
            raise UnclearError(f"`{line}` compares states in a way that is not known")
        (target,) = targets
        is_open = draft.name_of(target.comparator) == library.open_state or code_of(target.comparator) in {
            '"open"',
            "'open'",
        }
        if not is_open or not isinstance(target.operator, cst.Equal | cst.Is):
            raise UnclearError(f"`{line}` compares with a state that a route does not have; see Mode")
        edits.names.add("Mode")
        mode = f"transition.{field.partition('.')[0]} is Mode.CIRCUIT_BREAKER"
        edits.replace(comparison, lambda _: cst.parse_expression(mode))
    elif attribute.attr.value == "name":
        edits.replace(attribute, lambda _: cst.parse_expression(f"transition.{field}"))
    else:
        raise UnclearError(f"`{line}` hands a state on")
