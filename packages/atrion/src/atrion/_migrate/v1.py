"""The functional style of v1: ``state = update_physics(state, telemetry, dt)`` becomes a method of the engine."""

from __future__ import annotations

from collections.abc import Callable

import libcst as cst

from atrion._migrate.arguments import arguments_of, is_none
from atrion._migrate.draft import Draft, Reference, Transaction, UnclearError, code_of

__all__ = ["KNOWN", "rewrite"]

UPDATE = "atrion.physics.update_physics"
KNOWN = frozenset({UPDATE})
SAME = frozenset({"resistance", "scar_tissue", "momentum", "mode"})
"""What a state and a snapshot have by the same name."""
RENAMED = {"latency": "pressure_latency", "error": "pressure_error", "saturation": "pressure_saturation"}


def rewrite(draft: Draft, elsewhere: Callable[[str], str | None], prefix: str = "") -> None:
    """Gather the edits of one module."""
    for reference in draft.references:
        if reference.name != UPDATE:
            continue
        try:
            draft.commit(_update(draft, reference, prefix))
        except UnclearError as unclear:
            draft.left += 1
            draft.mark(reference.node, f"{code_of(reference.node)} stays: {unclear}")


def _update(draft: Draft, reference: Reference, prefix: str) -> Transaction:
    """The edits of one call.

    Raises:
        UnclearError: it needs a human.
    """
    call = draft.parent(reference.node)
    if not isinstance(call, cst.Call) or call.func is not reference.node:
        raise UnclearError("it is not called here")
    given = arguments_of(call, ("state", "telemetry", "dt", "config", "slo"))
    place = draft.parent(call)
    if not isinstance(place, cst.Assign) or len(place.targets) != 1 or "telemetry" not in given:
        raise UnclearError(
            "its result is not assigned to the state; the engine keeps the state of each route"
        )
    edits = Transaction(consumed=[reference], names={"engine"})
    route = _route(draft, place.targets[0].target, given.get("state"), edits, prefix)
    _settings(draft, given, route, edits)
    args = [cst.Arg(route), cst.Arg(given["telemetry"])]
    edits.replace(
        call, lambda _: cst.Call(cst.Attribute(cst.Name(draft.engine), cst.Name("update_physics")), args)
    )
    return edits


def _route(
    draft: Draft,
    target: cst.BaseExpression,
    state: cst.BaseExpression | None,
    edits: Transaction,
    prefix: str,
) -> cst.BaseExpression:
    """The id of the route whose state is in a variable, or in a dictionary by route."""
    if isinstance(target, cst.Subscript) and isinstance(target.value, cst.Name) and len(target.slice) == 1:
        index = target.slice[0].slice
        if not isinstance(index, cst.Index):
            raise UnclearError("the states are in slices")
        key, states = code_of(index.value), target.value.value
        read = code_of(state) if state is not None else ""
        if read not in {f"{states}[{key}]", f"{states}.get({key})", f"{states}.get({key}, None)"}:
            raise UnclearError("the state that is read is not the one that is written")
        for access in [access for found in draft.bound(states) for access in found.references]:
            _check_dictionary(draft, access.node)
        return index.value
    if not isinstance(target, cst.Name):
        raise UnclearError("the state is neither a variable nor in a dictionary of routes")
    if not (isinstance(state, cst.Name) and state.value == target.value):
        raise UnclearError("the state that is read is not the one that is written")
    name = target.value
    reads = [access.node for assignment in draft.bound(name) for access in assignment.references]
    for node in dict.fromkeys(reads):
        _read(draft, node, edits)
    label = name.removesuffix("_state") if name not in {"state", "_state"} else draft.path.stem
    return cst.SimpleString(f'"{prefix}{label}"')


def _check_dictionary(draft: Draft, node: cst.CSTNode) -> None:
    """Refuse states that are read from the dictionary by more than their names in common."""
    parent = draft.parent(node)
    if isinstance(parent, cst.Attribute) and parent.attr.value == "get":
        parent = draft.parent(parent)
    elif not isinstance(parent, cst.Subscript):
        raise UnclearError(f"`{draft.shown(node)}` hands the states on")
    around = draft.parent(parent)
    if isinstance(around, cst.Attribute) and around.attr.value in SAME:
        return
    if isinstance(around, cst.AssignTarget | cst.Arg):
        call = draft.parent(around)
        if isinstance(around, cst.AssignTarget) or (
            isinstance(call, cst.Call) and draft.name_of(call.func) == UPDATE
        ):
            return
    raise UnclearError(f"`{draft.shown(node)}` reads a state in a way that a snapshot does not offer")


def _read(draft: Draft, node: cst.CSTNode, edits: Transaction) -> None:
    """One use of the state's variable."""
    parent = draft.parent(node)
    if isinstance(parent, cst.Arg):
        call = draft.parent(parent)
        if isinstance(call, cst.Call) and draft.name_of(call.func) == UPDATE:
            return
    if isinstance(parent, cst.Attribute) and parent.value is node:
        name = parent.attr.value
        if name in SAME:
            return
        if name in RENAMED:
            edits.replace(
                parent, lambda updated: updated.with_changes(attr=cst.Name(RENAMED[updated.attr.value]))
            )
            return
    raise UnclearError(f"`{draft.shown(node)}` uses the state in a way that a snapshot does not offer")


def _settings(
    draft: Draft, given: dict[str, cst.BaseExpression], route: cst.BaseExpression, edits: Transaction
) -> None:
    """``config`` and ``slo`` become those of the route, where they are constants of the module."""
    settings = {name: given[name] for name in ("config", "slo") if not is_none(given.get(name))}
    if not settings:
        return
    if not isinstance(route, cst.SimpleString):
        raise UnclearError(
            "config= and slo= of many routes; give them to Atrion(…) or to engine.configure(…)"
        )
    for name, value in settings.items():
        if not isinstance(value, cst.Name) or not _is_constant(draft, value.value):
            raise UnclearError(f"{name}= is no constant of the module; give it to engine.configure(…)")
    told = ", ".join(f"{name}={code_of(value)}" for name, value in settings.items())
    edits.after_engine.append(f"{draft.engine}.configure({code_of(route)}, {told})")


def _is_constant(draft: Draft, name: str) -> bool:
    """Whether a name is bound once, by the first statements of the module, before anything is rewritten."""
    found = draft.bound(name)
    node = getattr(found[0], "node", None) if len(found) == 1 else None
    if node is None:
        return False
    statement = next(top for top in (node, *draft.around(node)) if draft.is_global(top))
    return draft.line_of(statement) < min(
        draft.line_of(reference.node) for reference in draft.references if reference.name == UPDATE
    ) and isinstance(statement, cst.SimpleStatementLine)
