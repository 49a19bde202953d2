"""One module that is being rewritten: what it means by its names, and the edits that are gathered for it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import libcst as cst
from libcst import metadata as meta
from libcst.helpers import get_full_name_for_node

from atrion._migrate.apply import Apply, Edit

__all__ = ["Draft", "Mark", "Reference", "Transaction", "UnclearError", "code_of"]

N = TypeVar("N", bound=cst.CSTNode)
Statement = cst.SimpleStatementLine | cst.BaseCompoundStatement
ENGINES = ("atrion", "atrion_engine", "admission")
"""Names for the engine; the first that the module does not use for something else."""
PREFIX = "# atrion migrate: "


class UnclearError(Exception):
    """What is used in a way that needs a human, with the reason."""


@dataclass(frozen=True)
class Mark:
    """A comment for a human: what was left as it is, and why."""

    line: int
    reason: str
    new: bool


@dataclass(frozen=True, eq=False)
class Reference:
    """A use of something of the library: the node, and its name such as ``pybreaker.CircuitBreaker``."""

    node: cst.BaseExpression
    name: str
    access: meta.Access
    imported: cst.CSTNode


@dataclass
class Transaction:
    """Edits that make sense only together."""

    edits: list[tuple[cst.CSTNode, Edit]] = field(default_factory=list)
    consumed: list[Reference] = field(default_factory=list)
    names: set[str] = field(default_factory=set)
    after_engine: list[str] = field(default_factory=list)

    def replace(self, node: N, make: Callable[[N], object]) -> None:
        """Put what ``make`` makes of a node, whose parts are rewritten already, in its place."""
        self.edits.append((node, make))


def code_of(node: cst.CSTNode) -> str:
    """The source text of a node."""
    return cst.Module([]).code_for_node(node)


class Draft:
    """A parsed module, its metadata, and the edits that are gathered.

    Args:
        source: The file's bytes.
        path: Where they come from.
        library: The root module of the library that is replaced.
        known: The qualified names that the library's rewriter knows.
        page: The page of the docs that a mark names.
        engine: ``module:name`` of an engine to import, or None to make one in the module.

    Raises:
        libcst.ParserSyntaxError: it is no Python that LibCST can parse.
    """

    def __init__(
        self, source: bytes, path: Path, library: str, known: Iterable[str], page: str, engine: str | None
    ) -> None:
        wrapper = meta.MetadataWrapper(cst.parse_module(source), unsafe_skip_copy=True)
        self.module = wrapper.module
        self.path = path
        self.library = library
        self.page = page
        self._known = frozenset(known)
        self._parents = wrapper.resolve(meta.ParentNodeProvider)
        self._positions = wrapper.resolve(meta.PositionProvider)
        self._names = wrapper.resolve(meta.QualifiedNameProvider)
        self._scopes = wrapper.resolve(meta.ScopeProvider)
        self.scopes: list[meta.Scope] = list(
            dict.fromkeys(scope for scope in self._scopes.values() if scope is not None)
        )
        self._edits: dict[cst.CSTNode, list[Edit]] = {}
        self._marks: dict[cst.CSTNode, list[str]] = {}
        self._needed: set[str] = set()
        self._after_engine: list[str] = []
        self._consumed: set[Reference] = set()
        self._errors: list[Callable[[bool], None]] = []
        self.rewritten = 0
        """How many uses of the library were rewritten."""
        self.left = 0
        """How many were left to a human."""
        self.engine_at: cst.CSTNode | None = None
        self._given_engine = engine
        self._imports = [*self._library_imports()]
        self.references: list[Reference] = [*self._references()]
        self.engine: str = self._engine_name()

    # --- what the module means -----------------------------------------------------------------------------

    def assignments(self) -> Iterator[meta.BaseAssignment]:
        """Every assignment of every scope but the builtins."""
        for scope in self.scopes:
            if not isinstance(scope, meta.BuiltinScope):
                yield from scope.assignments

    def _library_imports(self) -> Iterator[cst.Import | cst.ImportFrom]:
        for node in self._parents:
            if isinstance(node, cst.Import):
                if any(
                    (get_full_name_for_node(alias.name) or "").split(".")[0] == self.library
                    for alias in node.names
                ):
                    yield node
            elif (
                isinstance(node, cst.ImportFrom)
                and not node.relative
                and node.module is not None
                and self._is_library(get_full_name_for_node(node.module) or "")
            ):
                yield node

    def _is_library(self, module: str) -> bool:
        """Whether a module is the library, or one of it; a v1 program imports from ``atrion.physics``."""
        return module == self.library or module.startswith(f"{self.library}.")

    @property
    def imports(self) -> Sequence[cst.Import | cst.ImportFrom]:
        """The imports of the library."""
        return self._imports

    def unusual_import(self) -> tuple[cst.CSTNode, str] | None:
        """An import of the library that makes the meaning of names uncertain, and why."""
        for node in self._imports:
            if isinstance(node, cst.ImportFrom) and isinstance(node.names, cst.ImportStar):
                return node, "a star import does not say what is used; import names"
            line = self.parent(node)
            if not isinstance(line, cst.SimpleStatementLine) or self.parent(line) is not self.module:
                return node, "the library is imported on a condition or inside a block"
            if len(line.body) > 1:
                return node, "the import shares its line with something else"
        return None

    def _references(self) -> Iterator[Reference]:
        seen: set[cst.CSTNode] = set()
        imports = {id(node) for node in self._imports}
        for assignment in self.assignments():
            if not isinstance(assignment, meta.Assignment) or id(assignment.node) not in imports:
                continue
            for access in assignment.references:
                node, name = self._climbed(access.node)
                if name is None or node in seen:
                    continue
                if name == self.library or name.startswith(f"{self.library}."):
                    seen.add(node)
                    yield Reference(node, name, access, assignment.node)

    def _climbed(self, node: cst.CSTNode) -> tuple[cst.BaseExpression, str | None]:
        """The attribute that is meant: the shortest that the rewriter knows, else the longest."""
        while (name := self.name_of(node)) not in self._known:
            parent = self.parent(node)
            if not isinstance(parent, cst.Attribute) or parent.value is not node:
                break
            node = parent
        assert isinstance(node, cst.BaseExpression)
        return node, name

    def name_of(self, node: cst.CSTNode) -> str | None:
        """The one qualified name of a node, or None where there is none or more than one."""
        found = self._names.get(node, set())
        found = found() if callable(found) else found
        return next(iter(found)).name if len(found) == 1 else None

    def is_builtin(self, node: cst.CSTNode) -> bool:
        """Whether a name is one of Python's own."""
        found = self._names.get(node, set())
        found = found() if callable(found) else found
        return bool(found) and all(name.source is meta.QualifiedNameSource.BUILTIN for name in found)

    def unresolved(self) -> set[str]:
        """Names that are read and that nothing in the module binds, nor Python."""
        return {
            access.node.value
            for scope in self.scopes
            for access in scope.accesses
            if isinstance(access.node, cst.Name) and not access.referents
        }

    def parent(self, node: cst.CSTNode) -> cst.CSTNode:
        """The node around a node."""
        return self._parents[node]

    def around(self, node: cst.CSTNode) -> Iterator[cst.CSTNode]:
        """The nodes around a node, the nearest first."""
        while node is not self.module:
            node = self._parents[node]
            yield node

    def scope_of(self, node: cst.CSTNode) -> meta.Scope | None:
        """The scope in which a node stands."""
        return self._scopes.get(node)

    def line_of(self, node: cst.CSTNode) -> int:
        """The line on which a node begins."""
        return self._positions[node].start.line

    def shown(self, node: cst.CSTNode) -> str:
        """The first line of the statement around a node, as a reason quotes it: line numbers change with comments."""
        around = (node, *self.around(node))
        small = next(
            (found for found in around if isinstance(found, cst.BaseSmallStatement | cst.Decorator)), node
        )
        text = code_of(small).strip().lstrip("@").splitlines()[0]
        return text if len(text) <= 60 else f"{text[:59]}…"

    def statement_of(self, node: cst.CSTNode) -> Statement:
        """The nearest statement around a node before which a comment can stand."""
        for candidate in (node, *self.around(node)):
            if isinstance(candidate, cst.SimpleStatementLine | cst.FunctionDef | cst.ClassDef):
                return candidate
            if isinstance(candidate, cst.BaseCompoundStatement) and hasattr(candidate, "leading_lines"):
                return candidate
        raise UnclearError("it stands in no statement")

    def is_global(self, node: cst.CSTNode) -> bool:
        """Whether a statement stands at the module's own level."""
        return self.parent(node) is self.module

    def assigned(self, place: cst.CSTNode) -> tuple[str, cst.SimpleStatementLine] | None:
        """The variable of the module to which a statement assigns, and its line; None if it is anything else."""
        line = self.parent(place)
        if (
            isinstance(place, cst.Assign)
            and len(place.targets) == 1
            and isinstance(place.targets[0].target, cst.Name)
            and isinstance(line, cst.SimpleStatementLine)
            and self.is_global(line)
        ):
            return place.targets[0].target.value, line
        return None

    def bound(self, name: str) -> list[meta.BaseAssignment]:
        """Every assignment of a name, in any scope."""
        return [assignment for assignment in self.assignments() if assignment.name == name]

    def variable(self, statement: cst.CSTNode, name: str) -> list[cst.CSTNode]:
        """Where a module's variable is read.

        Raises:
            UnclearError: it is assigned more than once or somewhere else than at the module's level.
        """
        assignments = self.bound(name)
        if len(assignments) != 1 or not isinstance(assignments[0].scope, meta.GlobalScope):
            raise UnclearError(f"{name} is assigned more than once")
        return [access.node for access in assignments[0].references]

    # --- edits -----------------------------------------------------------------------------------------------

    def commit(self, transaction: Transaction) -> None:
        """Take edits, all of which are certain."""
        for node, edit in transaction.edits:
            self._edits.setdefault(node, []).append(edit)
        self._consumed.update(transaction.consumed)
        self._needed |= transaction.names
        self._after_engine += transaction.after_engine
        self.rewritten += 1

    def on_finish(self, error: Callable[[bool], None]) -> None:
        """Let ``error`` edit once it is known whether the library goes on being used in this project."""
        self._errors.append(error)

    def consumed(self, reference: Reference) -> bool:
        """Whether a use of the library was rewritten."""
        return reference in self._consumed

    def mark(self, node: cst.CSTNode, reason: str) -> None:
        """Put a comment with the reason before the statement around a node, which stays as it is."""
        reasons = self._marks.setdefault(self.statement_of(node), [])
        if reason not in reasons:
            reasons.append(reason)

    def marks(self) -> list[Mark]:
        """What was left to a human."""
        return [
            Mark(self.line_of(node), reason, self._comment(reason) not in self._comments_before(node))
            for node, reasons in self._marks.items()
            for reason in reasons
        ]

    def _comment(self, reason: str) -> str:
        return f"{PREFIX}{reason} (docs: {self.page})"

    def _comments_before(self, node: cst.CSTNode) -> list[str]:
        lines: list[cst.EmptyLine] = [*getattr(node, "leading_lines", ())]
        if self.module.body and self.module.body[0] is node:
            lines += self.module.header
        return [line.comment.value for line in lines if line.comment is not None]

    # --- the result ------------------------------------------------------------------------------------------

    def finish(self, used_elsewhere: Callable[[str], bool], library_stays: bool) -> bytes:
        """The rewritten module.

        Args:
            used_elsewhere: Whether other files take an imported name from this one.
            library_stays: Whether the library goes on being used somewhere.
        """
        for error in self._errors:
            error(library_stays)
        comments = {
            node: [
                comment
                for reason in reasons
                if (comment := self._comment(reason)) not in self._comments_before(node)
            ]
            for node, reasons in self._marks.items()
        }
        before: dict[cst.CSTNode, list[cst.SimpleStatementLine]] = {}
        if self._needed:
            self._import_names(before)
        self._drop_imports(used_elsewhere)
        edited = self.module.visit(Apply(self._edits, comments, before))
        return edited.bytes

    def unavailable_name(self) -> str | None:
        """A name of Atrion's that the module uses for something else, or None."""
        for name in ("Atrion", "FlowRejected", "Observer", "Mode"):
            for assignment in self.bound(name):
                node = assignment.node if isinstance(assignment, meta.Assignment) else None
                if not (isinstance(node, cst.ImportFrom) and self._imports_from_atrion(node)):
                    return name
        return None

    @staticmethod
    def _imports_from_atrion(node: cst.ImportFrom) -> bool:
        return node.module is not None and get_full_name_for_node(node.module) == "atrion"

    def _imported_from_atrion(self) -> set[str]:
        return {
            assignment.name
            for assignment in self.assignments()
            if isinstance(assignment, meta.Assignment)
            and isinstance(assignment.node, cst.ImportFrom)
            and self._imports_from_atrion(assignment.node)
        }

    def _engine_name(self) -> str:
        """The name of the engine: one that is there, the one that is to be imported, or one that is free."""
        existing = self._existing_engine()
        if existing is not None:
            return existing
        taken = {assignment.name for assignment in self.assignments()}
        if self._given_engine is not None:
            return self._given_engine.partition(":")[2]
        return next(name for name in (*ENGINES, *(f"atrion_{n}" for n in range(1000))) if name not in taken)

    def _existing_engine(self) -> str | None:
        """An engine that the module makes or imports."""
        for statement in self.module.body:
            if not isinstance(statement, cst.SimpleStatementLine):
                continue
            for small in statement.body:
                if (
                    isinstance(small, cst.Assign)
                    and len(small.targets) == 1
                    and isinstance(small.targets[0].target, cst.Name)
                    and isinstance(small.value, cst.Call)
                    and self.name_of(small.value.func) == "atrion.Atrion"
                ):
                    return small.targets[0].target.value
        if self._given_engine is not None:
            module, _, name = self._given_engine.partition(":")
            for assignment in self.bound(name):
                if any(
                    found.name == f"{module}.{name}" for found in assignment.get_qualified_names_for(name)
                ):
                    return name
        return None

    def has_engine(self) -> bool:
        """Whether the module has an engine, or is given one to import."""
        return self._given_engine is not None or self._existing_engine() is not None

    def engine_conflict(self) -> str | None:
        """The name of an engine to import that the module uses for something else, or None."""
        if self._given_engine is None or self._existing_engine() is not None:
            return None
        name = self._given_engine.partition(":")[2]
        return name if self.bound(name) else None

    def _import_names(self, before: dict[cst.CSTNode, list[cst.SimpleStatementLine]]) -> None:
        """Import what is needed in place of the library's first import, and make the engine after the imports."""
        names = self._needed - {"engine"}
        make = "engine" in self._needed and self._existing_engine() is None
        lines = []
        if make and self._given_engine is not None:
            module, _, name = self._given_engine.partition(":")
            lines.append(f"from {module} import {name}")
        elif make:
            names.add("Atrion")
        names -= self._imported_from_atrion()
        for module, wanted in sorted(_by_module(names).items()):
            lines.append(f"from {module} import {', '.join(sorted(wanted))}")
        first = self.parent(self._imports[0])
        before[first] = [_line(line, self.module) for line in lines]
        after = [_line(line, self.module) for line in self._after_engine]
        if make and self._given_engine is None:
            engine = _line(f"{self.engine} = Atrion()", self.module)
            if self.engine_at is not None:  # in the place of what it replaces
                self._edits.setdefault(self.engine_at, []).append(
                    lambda node: engine.with_changes(
                        leading_lines=node.leading_lines, trailing_whitespace=node.trailing_whitespace
                    )
                )
            else:
                after.insert(0, engine.with_changes(leading_lines=[cst.EmptyLine(indent=False)]))
        if after:
            before.setdefault(self._first_use(), []).extend(after)

    def _first_use(self) -> cst.CSTNode:
        """The first statement after the imports in which something is rewritten, or the first after them.

        What is made there must stand before every use, and may itself use what stands above.
        """
        body = list(self.module.body)
        start = body.index(self.parent(self._imports[0]))  # type: ignore[arg-type]  # it is a statement
        following = [node for node in body[start:] if not _is_import(node)]
        if not self._after_engine:
            return following[0]
        edited = {top for node in self._edits for top in (node, *self.around(node)) if top in set(following)}
        return next((node for node in following if node in edited), following[0])

    def _drop_imports(self, used_elsewhere: Callable[[str], bool]) -> None:
        """Remove imports of names all of whose uses were rewritten."""
        text = self.module.code
        for node in self._imports:
            kept, dropped = [], 0
            if isinstance(node.names, cst.ImportStar):
                continue
            for alias in node.names:
                name = alias.evaluated_alias or alias.evaluated_name
                bound = alias.evaluated_alias or alias.evaluated_name.split(".")[0]
                accesses = [ref for ref in self.references if ref.imported is node and _root(ref) == bound]
                unused = bool(accesses) and all(map(self.consumed, accesses))
                exported = re.search(rf"""["']{re.escape(name)}["']""", text) or used_elsewhere(name)
                others = isinstance(node, cst.Import) and alias.evaluated_name.split(".")[0] != self.library
                if unused and not exported and not others:
                    dropped += 1
                else:
                    kept.append(alias)
            if not dropped:
                continue
            if kept:
                last = kept[-1].with_changes(comma=cst.MaybeSentinel.DEFAULT)
                self._edits.setdefault(node, []).append(_with_names([*kept[:-1], last]))
            else:
                self._edits.setdefault(self.parent(node), []).append(lambda _: cst.RemoveFromParent())


def _with_names(names: Sequence[cst.ImportAlias]) -> Edit:
    """Lets an import have these names alone."""
    return lambda updated: updated.with_changes(names=names)


def _root(reference: Reference) -> str:
    """The name by which a module knows what is used."""
    node: cst.CSTNode = reference.access.node
    while isinstance(node, cst.Attribute):
        node = node.value
    return node.value if isinstance(node, cst.Name) else ""


def _is_import(node: cst.CSTNode) -> bool:
    return isinstance(node, cst.SimpleStatementLine) and all(
        isinstance(small, cst.Import | cst.ImportFrom) for small in node.body
    )


def _by_module(names: Iterable[str]) -> dict[str, set[str]]:
    """Names by the module from which they are imported; ``module:name`` says which, else it is ``atrion``."""
    modules: dict[str, set[str]] = {}
    for name in names:
        module, colon, bare = name.partition(":")
        modules.setdefault(module if colon else "atrion", set()).add(bare if colon else name)
    return modules


def _line(code: str, module: cst.Module) -> cst.SimpleStatementLine:
    line = cst.parse_statement(code, config=module.config_for_parsing)
    assert isinstance(line, cst.SimpleStatementLine)
    return line
