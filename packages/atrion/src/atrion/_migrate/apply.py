"""Applies the edits of a draft; what is not edited keeps every space and comment."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import libcst as cst

__all__ = ["Apply", "Edit"]

Edit = Callable[[Any], object]
"""Given a node whose parts are edited already, what to put in its place: another, or ``RemoveFromParent()``."""


class Apply(cst.CSTTransformer):
    """Applies edits to nodes, comments before statements, and statements before statements.

    Where a statement is removed, its comments go to the one that follows, and a block never becomes empty.
    """

    def __init__(
        self,
        edits: Mapping[cst.CSTNode, Sequence[Edit]],
        comments: Mapping[cst.CSTNode, Sequence[str]],
        before: Mapping[cst.CSTNode, Sequence[cst.SimpleStatementLine]],
    ) -> None:
        super().__init__()
        self._edits = edits
        self._comments = comments
        self._before = before

    def on_leave(self, original_node: Any, updated_node: Any) -> Any:
        """Edit one node."""
        result: Any = updated_node
        comments = self._comments.get(original_node, ())
        if comments:
            lines = [cst.EmptyLine(comment=cst.Comment(comment)) for comment in comments]
            result = result.with_changes(leading_lines=[*result.leading_lines, *lines])
        commented = result
        for edit in self._edits.get(original_node, ()):
            if isinstance(result, cst.RemovalSentinel):
                break
            result = edit(result)
        if isinstance(result, cst.RemovalSentinel) and isinstance(commented, cst.SimpleStatementLine):
            result = _Removed.of(commented)
        before = self._before.get(original_node, ())
        if before:
            return _with_before(before, result)
        if isinstance(result, cst.Module | cst.IndentedBlock):
            return _without_removed(result)
        return result


def _with_before(before: Sequence[cst.SimpleStatementLine], result: Any) -> Any:
    """Statements and what follows; what stands in the place of an import has the import's comments."""
    first, *rest = before
    if _is_import(first):
        first = first.with_changes(leading_lines=result.leading_lines)
        result = result.with_changes(leading_lines=[])
    elif not first.leading_lines:
        first = first.with_changes(leading_lines=[cst.EmptyLine(indent=False)])
    return cst.FlattenSentinel([first, *rest, result])


def _is_import(statement: cst.SimpleStatementLine) -> bool:
    return isinstance(statement.body[0], cst.Import | cst.ImportFrom)


class _Removed(cst.Pass):
    """Stands where a statement was removed, until its block is done."""

    @staticmethod
    def of(statement: cst.SimpleStatementLine) -> cst.SimpleStatementLine:
        lines = [*statement.leading_lines]
        comment = statement.trailing_whitespace.comment
        if comment is not None:
            lines.append(cst.EmptyLine(comment=comment))
        return statement.with_changes(
            body=[_Removed()], leading_lines=lines, trailing_whitespace=cst.TrailingWhitespace()
        )


def _is_removed(statement: cst.CSTNode) -> bool:
    return isinstance(statement, cst.SimpleStatementLine) and isinstance(statement.body[0], _Removed)


def _without_removed(block: Any) -> Any:
    """A block without the statements that were removed."""
    if not any(_is_removed(statement) for statement in block.body):
        return block
    body: list[Any] = []
    left: list[cst.EmptyLine] = []
    for statement in block.body:
        if _is_removed(statement):
            lines = statement.leading_lines
            left += lines if any(line.comment for line in lines) else []
        elif left:
            body.append(statement.with_changes(leading_lines=[*left, *statement.leading_lines]))
            left = []
        else:
            body.append(statement)
    if not body and isinstance(block, cst.IndentedBlock):
        body.append(cst.SimpleStatementLine([cst.Pass()], leading_lines=left))
        left = []
    return block.with_changes(body=body, footer=[*left, *block.footer])
