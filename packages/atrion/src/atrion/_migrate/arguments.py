"""The arguments of a call that is rewritten, and what can be said of them without running the program."""

from __future__ import annotations

import builtins
import re
from collections.abc import Sequence

import libcst as cst
from libcst import metadata as meta

from atrion._migrate.draft import Draft, UnclearError, code_of

__all__ = [
    "arguments_of",
    "exception_classes",
    "ignore_argument",
    "is_none",
    "is_plain_function",
    "keyword",
    "may_be_class",
    "route_name",
]

CLASS_NAME = re.compile(r"_*[A-Z]\w*[a-z]\w*")


def arguments_of(call: cst.Call, names: Sequence[str]) -> dict[str, cst.BaseExpression]:
    """The arguments by name; ``names`` are the parameters in their order.

    Raises:
        UnclearError: some are unpacked, or there is one that the library does not have.
    """
    found: dict[str, cst.BaseExpression] = {}
    for index, arg in enumerate(call.args):
        if arg.star:
            raise UnclearError("its arguments are unpacked from elsewhere")
        name = arg.keyword.value if arg.keyword is not None else ([*names, ""][min(index, len(names))])
        if name not in names:
            raise UnclearError(f"it has an argument that is not known: {code_of(arg).strip(', ')}")
        found[name] = arg.value
    return found


def keyword(name: str, value: cst.BaseExpression) -> cst.Arg:
    """``name=value``."""
    none = cst.SimpleWhitespace("")
    equal = cst.AssignEqual(whitespace_before=none, whitespace_after=none)
    return cst.Arg(value, keyword=cst.Name(name), equal=equal)


def is_none(value: cst.BaseExpression | None) -> bool:
    """Whether an argument was left out or is None."""
    return value is None or (isinstance(value, cst.Name) and value.value == "None")


def route_name(value: cst.BaseExpression) -> cst.BaseExpression:
    """The expression of a route's id, which must be text that is no error.

    Raises:
        UnclearError: nobody can tell without running the program.
    """
    text = value.evaluated_value if isinstance(value, cst.SimpleString | cst.ConcatenatedString) else None
    if isinstance(text, str) and 0 < len(text) <= 256:
        return value
    raise UnclearError("its name must be a text of 1 to 256 characters that stands in the source")


def _definition(draft: Draft, name: str) -> cst.CSTNode | None:
    """The one statement that binds a name in a module, or None."""
    found = draft.bound(name)
    return found[0].node if len(found) == 1 and isinstance(found[0], meta.Assignment) else None


def _is_exception_class(draft: Draft, value: cst.BaseExpression) -> bool:
    if draft.is_builtin(value) and isinstance(value, cst.Name):
        kind = getattr(builtins, value.value, None)
        return isinstance(kind, type) and issubclass(kind, BaseException)
    last = value.attr if isinstance(value, cst.Attribute) else value
    if not isinstance(last, cst.Name) or not CLASS_NAME.fullmatch(last.value):
        return False
    root: cst.BaseExpression = value
    while isinstance(root, cst.Attribute):
        root = root.value
    if not isinstance(root, cst.Name):
        return False
    node = _definition(draft, root.value)
    if root is value and isinstance(node, cst.ClassDef):
        return bool(node.bases) and all(_is_exception_class(draft, base.value) for base in node.bases)
    return isinstance(node, cst.Import | cst.ImportFrom)


def exception_classes(draft: Draft, value: cst.BaseExpression | None) -> list[cst.BaseExpression]:
    """The exception classes of a list, tuple or set that stands in the source.

    Raises:
        UnclearError: an item is, or may be, something else, such as a predicate.
    """
    if value is None or is_none(value):
        return []
    if not isinstance(value, cst.List | cst.Tuple | cst.Set):
        raise UnclearError("what it excludes is not a list in the source")
    items = [element.value for element in value.elements]
    for item in items:
        if not _is_exception_class(draft, item):
            raise UnclearError(
                f"it excludes {code_of(item)}, and ignore= takes exception classes only; a result can be judged by "
                "failure="
            )
    return items


def ignore_argument(classes: list[cst.BaseExpression]) -> list[cst.Arg]:
    """``ignore=(…)``, or nothing."""
    if not classes:
        return []
    if len(classes) == 1:
        return [keyword("ignore", classes[0].deep_clone())]
    items = [cst.Element(item.deep_clone()) for item in classes]
    return [keyword("ignore", cst.Tuple(items))]


def is_plain_function(draft: Draft, value: cst.BaseExpression) -> bool | None:
    """Whether a function is plain, and not async; None where nobody can tell."""
    if isinstance(value, cst.Lambda):
        return True
    node = _definition(draft, value.value) if isinstance(value, cst.Name) else None
    return node.asynchronous is None if isinstance(node, cst.FunctionDef) else None


def may_be_class(draft: Draft, value: cst.BaseExpression) -> bool:
    """Whether a callable may be a class, which cannot be guarded."""
    if draft.is_builtin(value) and isinstance(value, cst.Name):
        return isinstance(getattr(builtins, value.value, None), type)
    last = value.attr if isinstance(value, cst.Attribute) else value
    return isinstance(last, cst.Name) and last.value.lstrip("_")[:1].isupper()
