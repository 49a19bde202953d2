"""Where a library's rejection is caught, ``FlowRejected`` is."""

from __future__ import annotations

import libcst as cst

from atrion._migrate.draft import Draft, Reference, Transaction, code_of

__all__ = ["REJECTED", "rewrite_exceptions"]

REJECTED = "FlowRejected"
TAKES_A_CLASS = frozenset(
    {"isinstance", "issubclass", "raises", "assertRaises", "suppress", "retry_if_exception_type"}
)
"""Functions that take a class of exceptions, or a tuple of them."""
KEPT = frozenset({"args", "with_traceback", "add_note", "__traceback__", "__cause__", "__context__"})
"""What every exception has."""


def rewrite_exceptions(draft: Draft, *errors: str) -> None:
    """Gather the edits of every use of the library's errors.

    While the library is still used somewhere, what catches its error goes on doing so as well.
    """
    for reference in draft.references:
        if reference.name not in errors:
            continue
        reason = _unclear(draft, reference)
        if reason is not None:
            draft.left += 1
            draft.mark(reference.node, f"{code_of(reference.node)} stays: {reason}")
        else:
            draft.on_finish(lambda stays, reference=reference: _replace(draft, reference, stays))  # type: ignore[misc]


def _unclear(draft: Draft, reference: Reference) -> str | None:
    """Why a use needs a human, or None."""
    node = reference.node
    place = _outside_tuple(draft, node)
    if isinstance(place, cst.ExceptHandler):
        return _reads_more(draft, place)
    if isinstance(place, cst.Arg):
        call = draft.parent(place)
        if isinstance(call, cst.Call):
            function = call.func.attr if isinstance(call.func, cst.Attribute) else call.func
            if isinstance(function, cst.Name) and function.value in TAKES_A_CLASS:
                return None
    return "FlowRejected takes the place of the error where it is caught, and only the engine raises it"


def _outside_tuple(draft: Draft, node: cst.CSTNode) -> cst.CSTNode:
    """What is around a class, or around the tuple in which it stands."""
    place = draft.parent(node)
    if isinstance(place, cst.Element) and isinstance(draft.parent(place), cst.Tuple):
        place = draft.parent(draft.parent(place))
    return place


def _reads_more(draft: Draft, handler: cst.ExceptHandler) -> str | None:
    """Whether the handler reads what only the library's error has."""
    if handler.name is None or not isinstance(handler.name.name, cst.Name):
        return None
    name = handler.name.name.value
    for assignment in draft.bound(name):
        for access in assignment.references:
            inside = handler in set(draft.around(access.node))
            parent = draft.parent(access.node)
            if inside and isinstance(parent, cst.Attribute) and parent.attr.value not in KEPT:
                return f"`{draft.shown(parent)}` reads .{parent.attr.value}; FlowRejected has .decision"
    return None


def _replace(draft: Draft, reference: Reference, stays: bool) -> None:
    node = reference.node
    edits = Transaction(names={REJECTED})
    element = draft.parent(node)
    group = draft.parent(element) if isinstance(element, cst.Element) else None
    others = (
        {draft.name_of(item.value) for item in group.elements if item is not element}
        if isinstance(group, cst.Tuple)
        else set()
    )
    there = f"atrion.{REJECTED}" in others
    if stays and there:
        return
    if not stays:
        edits.consumed.append(reference)
    if group is None:
        edits.replace(node, lambda updated: _both(updated) if stays else cst.Name(REJECTED))
    elif stays:
        # One more element; both may stand only side by side, since an except clause takes no nested tuple.
        edits.replace(
            element,
            lambda updated: cst.FlattenSentinel([cst.Element(cst.Name(REJECTED)), updated]),
        )
    elif there or _earlier(draft, reference, group):
        edits.replace(element, lambda _: cst.RemoveFromParent())
        if isinstance(group, cst.Tuple) and len(group.elements) == 2:
            edits.replace(group, lambda updated: updated.elements[0].value)
    else:
        edits.replace(node, lambda _: cst.Name(REJECTED))
    draft.commit(edits)


def _earlier(draft: Draft, reference: Reference, group: cst.CSTNode) -> bool:
    """Whether an earlier element of the same tuple becomes ``FlowRejected`` already."""
    same = [
        other
        for other in draft.references
        if other.name == reference.name and draft.parent(draft.parent(other.node)) is group
    ]
    return same.index(reference) > 0 if reference in same else False


def _both(node: cst.BaseExpression) -> cst.Tuple:
    return cst.Tuple([cst.Element(cst.Name(REJECTED)), cst.Element(node)])
