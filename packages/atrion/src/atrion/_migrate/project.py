"""Rewrites the files of a project: reads them, gathers what each needs, and writes those that change."""

from __future__ import annotations

import ast
import os
import re
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from atrion.errors import ConfigurationError, MissingExtraError

try:
    import libcst as cst
except ImportError as error:
    raise MissingExtraError("atrion migrate", "migrate") from error

from atrion._migrate import breakers, purgatory, slowapi, tenacity, v1
from atrion._migrate.draft import Draft, Mark

__all__ = ["LIBRARIES", "FileReport", "Report", "migrate", "write"]

Elsewhere = Callable[[str], str | None]
SKIPPED = frozenset({".git", ".hg", ".tox", ".venv", "__pycache__", "node_modules", "site-packages", "venv"})
IDENTIFIER = r"[A-Za-z_]\w*"


@dataclass(frozen=True)
class _Library:
    root: str
    word: bytes
    """What a file must contain to be parsed."""
    known: frozenset[str]
    rewrite: Callable[[Draft, Elsewhere, str], None]
    stays: bool = False
    """Whether the library is kept by design."""


def _breaker(library: breakers.BreakerLibrary) -> _Library:
    return _Library(
        library.name,
        library.name.encode(),
        frozenset(library.known()),
        partial(breakers.rewrite, library),
    )


LIBRARIES: dict[str, _Library] = {
    "v1": _Library("atrion", b"update_physics", v1.KNOWN, v1.rewrite),
    "pybreaker": _breaker(breakers.PYBREAKER),
    "circuitbreaker": _breaker(breakers.CIRCUITBREAKER),
    "aiobreaker": _breaker(breakers.AIOBREAKER),
    "purgatory": _Library("purgatory", b"purgatory", purgatory.KNOWN, purgatory.rewrite),
    "tenacity": _Library("tenacity", b"tenacity", tenacity.KNOWN, tenacity.rewrite, stays=True),
    "slowapi": _Library("slowapi", b"slowapi", slowapi.KNOWN, slowapi.rewrite, stays=True),
}
"""What can be migrated from."""


@dataclass
class FileReport:
    """The result for one file: its bytes before and after, what was rewritten, and what needs a human."""

    path: Path
    before: bytes = b""
    after: bytes = b""
    rewritten: int = 0
    marks: list[Mark] = field(default_factory=list)
    error: str | None = None

    @property
    def changed(self) -> bool:
        """Whether there is something to write."""
        return self.before != self.after

    def texts(self) -> tuple[str, str]:
        """The text before and after, in the file's own encoding."""
        encoding = cst.parse_module(self.before).encoding
        return self.before.decode(encoding), self.after.decode(encoding)


@dataclass
class Report:
    """The results for the files that use the library, ordered by path."""

    library: str
    searched: int = 0
    files: list[FileReport] = field(default_factory=list)

    @property
    def changed(self) -> list[FileReport]:
        """The files with something to write."""
        return [file for file in self.files if file.changed]


def migrate(
    name: str,
    paths: Iterable[Path],
    *,
    engine: str | None = None,
    progress: Callable[[float], None] = lambda share: None,
) -> Report:
    """Find out what to rewrite; nothing is written.

    Args:
        name: One of :data:`LIBRARIES`.
        paths: Files, and folders whose Python files are meant. Give the whole project: whether a library is still
            used, and by whom, is only known of the files that are given.
        engine: ``module:name`` of an engine that the files import; None makes one in each file.
        progress: Told the share that is done, in [0, 1].

    Raises:
        ConfigurationError: a path does not exist, or ``engine`` is no such name.
    """
    library = LIBRARIES[name]
    if engine is not None and not re.fullmatch(rf"{IDENTIFIER}(\.{IDENTIFIER})*:{IDENTIFIER}", engine):
        raise ConfigurationError("--engine", engine, "give a module and a name, such as app.guards:atrion")
    report = Report(name)
    texts: dict[Path, bytes] = {}
    for path in _python_files(paths):
        report.searched += 1
        try:
            texts[path] = path.read_bytes()
        except OSError as error:
            report.files.append(FileReport(path, error=error.strerror or str(error)))
    used = [path for path, text in texts.items() if library.word in text]
    drafts: list[tuple[FileReport, Draft]] = []
    for index, path in enumerate(used):
        file = FileReport(path, texts[path], texts[path])
        report.files.append(file)
        draft = _draft(file, library, name, engine, texts)
        if draft is not None:
            drafts.append((file, draft))
        progress(0.8 * (index + 1) / len(used))
    rewritten = sum(draft.rewritten for _, draft in drafts)
    stays = library.stays or not rewritten or any(draft.left for _, draft in drafts)
    for index, (file, draft) in enumerate(drafts):
        _finish(file, draft, stays, _Elsewhere(file.path, texts))
        progress(0.8 + 0.2 * (index + 1) / len(drafts))
    progress(1.0)
    report.files.sort(key=lambda file: file.path)
    return report


def _python_files(paths: Iterable[Path]) -> Iterator[Path]:
    seen = set()
    for path in paths:
        if not path.exists():
            raise ConfigurationError("PATH", str(path), "give a file or folder that exists")
        found = [path] if path.is_file() else sorted(_below(path))
        for file in found:
            real = file.resolve()
            if real not in seen:
                seen.add(real)
                yield file


def _below(folder: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name not in SKIPPED]
        yield from (Path(place, name) for name in files if name.endswith((".py", ".pyi")))


def _draft(
    file: FileReport, library: _Library, name: str, engine: str | None, texts: dict[Path, bytes]
) -> Draft | None:
    """The edits of a file; None where it cannot be parsed or does not import the library."""
    try:
        draft = Draft(file.before, file.path, library.root, library.known, f"migrating/{name}", engine)
    except Exception as error:  # whatever is in a file, the others are still to be done
        file.error = f"cannot be parsed: {str(error).splitlines()[0] if str(error) else type(error).__name__}"
        return None
    if not draft.imports:
        return None
    unusual = draft.unusual_import()
    conflict = draft.unavailable_name() or draft.engine_conflict()
    if unusual is not None:
        draft.left += 1
        draft.mark(*unusual)
    elif conflict is not None and any(reference.name in library.known for reference in draft.references):
        draft.left += 1
        draft.mark(draft.imports[0], f"nothing was rewritten: {conflict} means something else here")
    else:
        prefix = f"{file.path.stem}." if engine is not None else ""
        try:
            library.rewrite(draft, _Elsewhere(file.path, texts).use_of, prefix)
        except Exception as error:
            file.error = f"cannot be rewritten: {type(error).__name__}: {error}"
            return None
    return draft


def _finish(file: FileReport, draft: Draft, stays: bool, elsewhere: _Elsewhere) -> None:
    try:
        after = draft.finish(elsewhere.imports, stays)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the program's own, such as of an invalid escape
            ast.parse(after)
            unknown = Draft(after, file.path, draft.library, (), "", None).unresolved() - draft.unresolved()
        if unknown:
            raise ValueError(f"the result would use {', '.join(sorted(unknown))}, which it does not have")
    except Exception as error:
        file.error = f"left as it is: {type(error).__name__}: {error}"
        return
    file.after, file.rewritten, file.marks = after, draft.rewritten, draft.marks()


class _Elsewhere:
    """What the other files say of names of one file's module. It looks at words, so it may see uses that are none."""

    def __init__(self, path: Path, texts: dict[Path, bytes]) -> None:
        stem = (path.parent.name if path.name == "__init__.py" else path.stem).encode()
        module = re.compile(rb"\b(?:import|from)\b[^\n]*\b%s\b" % re.escape(stem))
        self._others = {
            other: text
            for other, text in texts.items()
            if other != path and stem in text and module.search(text)  # most files lack the word
        }

    def use_of(self, name: str) -> str | None:
        """Where a guard is used otherwise than as a decorator; ``import NAME`` asks for any use."""
        word = re.escape(name.removeprefix("import ").encode())
        pattern = rb"\b%s\b" if name.startswith("import ") else rb"\b%s\s*\.|\bwith\s[^\n]*\b%s\b|\b%s\s+as\b"
        count = pattern.count(b"%s")
        found = re.compile(pattern % ((word,) * count))
        for other, text in self._others.items():
            match = found.search(text)
            if match is not None:
                return other.name
        return None

    def imports(self, name: str) -> bool:
        """Whether another file may import a name from the module."""
        return any(re.search(rb"\b%s\b" % re.escape(name.encode()), text) for text in self._others.values())


def write(file: FileReport) -> None:
    """Put the rewritten file in the place of the old one, at once and with its mode.

    Raises:
        OSError: it cannot be written.
    """
    target = file.path.resolve()
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(file.after)
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).chmod(target.stat().st_mode & 0o7777)
        Path(name).replace(target)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise
