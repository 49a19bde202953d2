"""Retries of tenacity stay; each attempt passes a guard, and what the guard sheds is not tried again."""

from __future__ import annotations

import builtins
from collections.abc import Callable

import libcst as cst

from atrion._migrate.arguments import keyword
from atrion._migrate.draft import Draft, Reference, Transaction, UnclearError, code_of
from atrion._migrate.exceptions import REJECTED

__all__ = ["KNOWN", "rewrite"]

RETRY = "tenacity.retry"
LOOPS = frozenset({"tenacity.Retrying", "tenacity.AsyncRetrying"})
BY_TYPE = "tenacity.retry_if_exception_type"
BY_EXCEPTION = frozenset(
    f"tenacity.retry_{name}"
    for name in (
        "if_exception_type",
        "if_not_exception_type",
        "unless_exception_type",
        "if_exception",
        "if_exception_cause_type",
        "if_exception_message",
        "if_not_exception_message",
        "always",
    )
)
BY_RESULT = frozenset({"tenacity.retry_if_result", "tenacity.retry_if_not_result", "tenacity.retry_never"})
GROUPS = frozenset({"tenacity.retry_any", "tenacity.retry_all"})
KNOWN = LOOPS | BY_EXCEPTION | BY_RESULT | GROUPS | {RETRY}


def rewrite(draft: Draft, elsewhere: Callable[[str], str | None], prefix: str = "") -> None:
    """Gather the edits of one module."""
    for reference in draft.references:
        if reference.name not in LOOPS | {RETRY} or _in_annotation(draft, reference):
            continue
        try:
            edits = (
                _decorator(draft, reference) if reference.name == RETRY else _loop(draft, reference, prefix)
            )
            if edits is not None:
                draft.commit(edits)
        except UnclearError as unclear:
            draft.left += 1
            draft.mark(reference.node, f"{code_of(reference.node)} is not guarded: {unclear}")


def _in_annotation(draft: Draft, reference: Reference) -> bool:
    return any(isinstance(node, cst.Annotation) for node in draft.around(reference.node))


def _decorator(draft: Draft, reference: Reference) -> Transaction | None:
    """``@retry(…)`` with ``@engine.protect`` below it; None where it is there already.

    Raises:
        UnclearError: it needs a human.
    """
    parent = draft.parent(reference.node)
    call = parent if isinstance(parent, cst.Call) and parent.func is reference.node else None
    decorator = draft.parent(call) if call is not None else parent
    if isinstance(parent, cst.Attribute):
        raise UnclearError("an attribute of it is used")
    if not isinstance(decorator, cst.Decorator):
        raise UnclearError("it is no decorator here; put the engine's protect around what is tried")
    function = draft.parent(decorator)
    if not isinstance(function, cst.FunctionDef):
        raise UnclearError("it decorates a class")
    if any(_is_guard(draft, other) for other in function.decorators):
        return None
    below = function.decorators[function.decorators.index(decorator) + 1 :]
    if any(
        (draft.name_of(item.decorator) or "").rpartition(".")[2] in {"property", "cached_property"}
        for item in below
    ):
        raise UnclearError("it decorates a property")
    edits = Transaction(names={"engine", REJECTED})
    guard = cst.Decorator(cst.Attribute(cst.Name(draft.engine), cst.Name("protect")))
    if call is None:
        condition = _default_condition(draft, reference, edits)
        edits.replace(reference.node, lambda updated: cst.Call(updated, [keyword("retry", condition)]))
    else:
        _condition(draft, reference, call, edits)
    edits.replace(decorator, lambda updated: cst.FlattenSentinel([updated, guard]))
    return edits


def _is_guard(draft: Draft, decorator: cst.Decorator) -> bool:
    node = decorator.decorator.func if isinstance(decorator.decorator, cst.Call) else decorator.decorator
    return (
        isinstance(node, cst.Attribute)
        and node.attr.value == "protect"
        and code_of(node.value) == draft.engine
    )


def _loop(draft: Draft, reference: Reference, prefix: str) -> Transaction | None:
    """``for attempt in Retrying(…): with attempt: …`` with a flow in each attempt.

    Raises:
        UnclearError: it needs a human.
    """
    call = draft.parent(reference.node)
    loop = draft.parent(call)
    if not (isinstance(call, cst.Call) and isinstance(loop, cst.For) and loop.iter is call):
        raise UnclearError("it is no loop of attempts here; put the engine's protect around what is tried")
    body = loop.body.body
    block = next((node for node in body if isinstance(node, cst.With)), None)
    if (
        not isinstance(loop.target, cst.Name)
        or block is None
        or not isinstance(block.items[0].item, cst.Name)
        or block.items[0].item.value != loop.target.value
    ):
        raise UnclearError("its attempts are not entered by a with statement of the loop")
    if any(code_of(item.item).startswith(f"{draft.engine}.flow(") for item in block.items):
        return None
    if block.asynchronous is not None:
        raise UnclearError("its attempts are entered by async with")
    functions = [node for node in draft.around(loop) if isinstance(node, cst.FunctionDef)]
    name = functions[0].name.value if functions else draft.path.stem
    flow = cst.Call(
        cst.Attribute(cst.Name(draft.engine), cst.Name("flow")),
        [cst.Arg(cst.SimpleString(f'"{prefix}{name}"'))],
    )
    edits = Transaction(names={"engine", REJECTED})
    _condition(draft, reference, call, edits)
    first = block.items[0]
    edits.replace(
        block,
        lambda updated: updated.with_changes(
            items=[
                updated.items[0].with_changes(comma=cst.Comma(whitespace_after=cst.SimpleWhitespace(" "))),
                cst.WithItem(flow, comma=first.comma),
                *updated.items[1:],
            ]
        ),
    )
    return edits


def _condition(draft: Draft, reference: Reference, call: cst.Call, edits: Transaction) -> None:
    """Leave rejections out of what is tried again."""
    if any(arg.star for arg in call.args) or any(arg.keyword is None for arg in call.args):
        raise UnclearError("its arguments have no names in the source")
    arg = next((arg for arg in call.args if arg.keyword is not None and arg.keyword.value == "retry"), None)
    if arg is None:
        condition = _default_condition(draft, reference, edits)
        edits.replace(call, lambda updated: _with_argument(updated, keyword("retry", condition)))
    else:
        _narrow(draft, reference, arg.value, edits)


def _with_argument(call: cst.Call, arg: cst.Arg) -> cst.Call:
    """One more argument, on a line of its own where the others are."""
    if not call.args:
        return call.with_changes(args=[arg])
    last = call.args[-1]
    between: cst.BaseParenthesizableWhitespace = cst.SimpleWhitespace(" ")
    if isinstance(call.whitespace_before_args, cst.ParenthesizedWhitespace):
        between = call.whitespace_before_args
    spaced = last.with_changes(comma=cst.Comma(whitespace_after=between))
    trailing = last.comma if isinstance(last.comma, cst.Comma) else cst.MaybeSentinel.DEFAULT
    return call.with_changes(
        args=[
            *call.args[:-1],
            spaced.with_changes(whitespace_after_arg=cst.SimpleWhitespace("")),
            arg.with_changes(comma=trailing, whitespace_after_arg=last.whitespace_after_arg),
        ]
    )


def _narrow(draft: Draft, reference: Reference, value: cst.BaseExpression, edits: Transaction) -> None:
    """Let a condition not be met by a rejection."""
    if isinstance(value, cst.BinaryOperation) and isinstance(value.operator, cst.BitOr | cst.BitAnd):
        _narrow(draft, reference, value.left, edits)
        _narrow(draft, reference, value.right, edits)
        return
    call = value.func if isinstance(value, cst.Call) else value
    name = draft.name_of(call)
    if name in GROUPS and isinstance(value, cst.Call):
        for arg in value.args:
            _narrow(draft, reference, arg.value, edits)
    elif name in BY_RESULT:
        return
    elif name in BY_EXCEPTION and isinstance(value, cst.Call):
        if name == BY_TYPE and _excludes_rejections(draft, value):
            return
        condition = _not_rejected(draft, reference, edits)
        edits.replace(value, lambda updated: _and(updated, condition))
    else:
        raise UnclearError(
            f"nobody can tell whether retry={code_of(value)} is met by FlowRejected; leave it out there"
        )


def _excludes_rejections(draft: Draft, call: cst.Call) -> bool:
    """Whether only classes are named that ``FlowRejected`` is none of."""
    if len(call.args) != 1 or call.args[0].star:
        return False
    value = call.args[0].value
    elements = value.elements if isinstance(value, cst.Tuple) else [cst.Element(value)]
    if any(isinstance(element, cst.StarredElement) for element in elements):
        return False
    items = [element.value for element in elements]
    broad = {"Exception", "BaseException"}
    for item in items:
        if draft.is_builtin(item) and isinstance(item, cst.Name):
            kind = getattr(builtins, item.value, None)
            if item.value in broad or not isinstance(kind, type):
                return False
            continue
        name = code_of(item).rpartition(".")[2]
        if name == "AtrionError" or not name.endswith(("Error", "Timeout")):
            return False
    return True


def _default_condition(draft: Draft, reference: Reference, edits: Transaction) -> cst.BaseExpression:
    """``retry_if_exception_type() & …``: tenacity's own default, but for rejections."""
    default = cst.Call(_named(reference, "retry_if_exception_type", edits))
    return _and(default, _not_rejected(draft, reference, edits))


def _not_rejected(draft: Draft, reference: Reference, edits: Transaction) -> cst.BaseExpression:
    return cst.Call(_named(reference, "retry_if_not_exception_type", edits), [cst.Arg(cst.Name(REJECTED))])


def _named(reference: Reference, name: str, edits: Transaction) -> cst.BaseExpression:
    """Something of tenacity's by the way in which the module imports it."""
    if isinstance(reference.node, cst.Attribute):
        return cst.Attribute(reference.node.value.deep_clone(), cst.Name(name))
    edits.names.add(f"tenacity:{name}")
    return cst.Name(name)


def _and(left: cst.BaseExpression, right: cst.BaseExpression) -> cst.BinaryOperation:
    return cst.BinaryOperation(left, cst.BitAnd(), right, lpar=[cst.LeftParen()], rpar=[cst.RightParen()])
