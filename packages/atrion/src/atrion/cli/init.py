"""``atrion init``: shows or writes a starter for the framework that a project uses."""

from __future__ import annotations

import argparse
import json
import re
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from atrion.cli.discovery import Application, Project, read
from atrion.cli.parser import examples
from atrion.cli.starters import STARTERS, Starter, text
from atrion.errors import AtrionError, ConfigurationError

__all__ = ["add_parser", "plan"]


def add_parser(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "init",
        help="write a starter for the framework that a project uses",
        description="Finds the framework of a project by reading its files, without importing them, and shows a "
        "module that guards it and a table [tool.atrion] of settings; --write writes them. Files that exist are "
        "not changed, but for the table, which is added to pyproject.toml. Where no application is found, an "
        "example of a service is written as well.",
        epilog=examples(
            "atrion init                            show what would be written into this folder",
            "atrion init --write                    write it",
            "atrion init shop --framework fastapi   for a project that has no code yet",
        ),
    )
    parser.add_argument(
        "folder",
        nargs="?",
        type=Path,
        default=Path(),
        metavar="FOLDER",
        help="the project (default: this folder)",
    )
    parser.add_argument(
        "--framework", choices=[*STARTERS], metavar="NAME", help=f"do not look for it: {', '.join(STARTERS)}"
    )
    parser.add_argument("--write", action="store_true", help="write the files")
    parser.add_argument("--json", action="store_true", help="print one object instead")
    parser.set_defaults(run=run)


@dataclass
class File:
    """A file of a starter, and what happens to it: ``create``, ``append`` or ``keep``."""

    path: Path
    text: str
    action: str


@dataclass
class Plan:
    """What a project gets.

    Attributes:
        starter: the name of the framework.
        application: the application that was found.
        others: further applications of the framework.
        files: what is written.
        install: the command that installs what is needed.
        where: the place of the lines to add; empty if there is nothing to add.
        enable: these lines.
        run: how the example service is started; empty if there is none.
    """

    starter: str
    application: Application | None = None
    others: list[Application] = field(default_factory=list)
    files: list[File] = field(default_factory=list)
    install: str = ""
    where: str = ""
    enable: str = ""
    run: str = ""


def plan(folder: Path, framework: str | None = None) -> list[Plan]:
    """What would be written, one plan for each framework whose applications are found.

    Args:
        folder: The project.
        framework: The name of a starter; None looks for it.

    Raises:
        AtrionError: no framework is found, a file exists that would be written, or pyproject.toml cannot be read.
        ConfigurationError: the folder does not exist.
    """
    if not folder.is_dir():
        raise ConfigurationError("folder", str(folder), "give the folder of a project")
    project = read(folder)
    found: dict[str, list[Application]] = {}
    for name in [framework] if framework else STARTERS:
        made = re.compile(STARTERS[name].made)
        applications = [each for each in project.applications if made.fullmatch(each.kind)]
        if applications or framework:
            found[name] = sorted(applications, key=lambda each: (len(each.path.parts), each.path, each.line))
    names = [*found] or [_declared(project)]
    settings = _settings(folder)
    return [_plan(folder, name, found.get(name, []), settings) for name in names]


def _declared(project: Project) -> str:
    """The starter of a framework that is required or imported, where no application was found."""
    for name, starter in STARTERS.items():
        if starter.package in project.required or starter.package.removesuffix("io") in project.imported:
            return name
    raise AtrionError(
        f"no framework was found in {project.folder}; name one with --framework: {', '.join(STARTERS)}"
    )


def _settings(folder: Path) -> File:
    """The table of settings, in pyproject.toml if there is one, else in a file of its own."""
    path = folder / "pyproject.toml"
    if not path.exists():
        path = folder / "atrion.toml"
        return File(path, text("settings"), "keep" if path.exists() else "create")
    try:
        before = path.read_bytes().decode()
        data = tomllib.loads(before)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise AtrionError(f"{path} cannot be read: {error}") from error
    if "atrion" in data.get("tool", {}):
        return File(path, "", "keep")
    added = text("settings")
    gap = "" if not before else "\n" if before.endswith("\n") else "\n\n"
    try:
        tomllib.loads(f"{before}{gap}{added}")
    except tomllib.TOMLDecodeError as error:
        raise AtrionError(
            f"[tool.atrion] cannot be added at the end of {path}; add this table yourself"
        ) from error
    added = f"{gap}{added}"
    return File(path, added.replace("\n", "\r\n") if "\r\n" in before else added, "append")


def _plan(folder: Path, name: str, applications: list[Application], settings: File) -> Plan:
    starter = STARTERS[name]
    guard = f"atrion_{name.replace('-', '_')}"
    made = Plan(name, applications[0] if applications else None, applications[1:])
    place = made.application.path.parent if made.application else folder
    up = len(place.relative_to(folder).parts)
    parent = f"Path(__file__).parents[{up}]" if up else "Path(__file__).parent"
    config = f'{parent} / "{settings.path.name}"'
    templates = {guard: text(f"{name}-guard", config=config, config_name=settings.path.name)}
    if made.application is None:
        service = f"{name.replace('-', '_')}_service"
        templates[service] = text(f"{name}-service", guard=guard, module=service)
        made.run = starter.run.format(module=service)
    elif guard not in made.application.path.read_text(encoding="utf-8", errors="replace"):
        module = ".".join([*_packages(place), guard])
        app = made.application.name or starter.app
        made.where = starter.where
        made.enable = starter.enable.format(guard=module, app=app)
    made.files = [_new(place / f"{module}.py", content) for module, content in templates.items()]
    made.files.append(settings)
    made.install = _install(starter, with_service=made.application is None)
    return made


def _new(path: Path, content: str) -> File:
    """A file to create; the same content may be there already."""
    if not path.exists():
        return File(path, content, "create")
    if path.is_file() and path.read_bytes() == content.encode():
        return File(path, content, "keep")
    raise AtrionError(f"{path} exists, and nothing is overwritten; rename or remove it")


def _packages(place: Path) -> Iterator[str]:
    """The names of the packages that a folder is in, the outermost first."""
    place = place.resolve()
    if (place / "__init__.py").exists():
        yield from _packages(place.parent)
        yield place.name


def _install(starter: Starter, *, with_service: bool) -> str:
    core = f'"atrion[{starter.extra}]"' if starter.extra else "atrion"
    return " ".join(["pip install", core, *(starter.serve if with_service else ())])


def run(arguments: argparse.Namespace) -> int:
    """Run the command; returns the exit status.

    Raises:
        AtrionError: a file cannot be written, or as :func:`plan`.
    """
    plans = plan(arguments.folder, arguments.framework)
    files = list({file.path: file for each in plans for file in each.files}.values())
    if arguments.write:
        for file in files:
            _write(file)
    if arguments.json:
        print(
            json.dumps({"written": arguments.write, "starters": [_plain(each) for each in plans]}, indent=2)
        )
        return 0
    for file in files:
        _show(file, written=arguments.write)
    for each in plans:
        print("\n".join(_next(each)))
    if not arguments.write:
        print("\nNothing was written; --write writes the files.")
    return 0


def _write(file: File) -> None:
    if file.action == "keep":
        return
    try:
        with file.path.open("xb" if file.action == "create" else "ab") as target:
            target.write(file.text.encode())
    except OSError as error:
        raise AtrionError(f"{file.path} cannot be written: {error.strerror or error}") from error


def _show(file: File, *, written: bool) -> None:
    if file.action == "keep":
        print(f"{file.path}: kept as it is")
    elif written:
        print(f"{file.path}: {'created' if file.action == 'create' else '[tool.atrion] added'}")
    else:
        color = sys.stdout.isatty()
        print(f"{file.path}: {'new file' if file.action == 'create' else 'added at the end'}")
        for line in file.text.strip("\r\n").splitlines():
            shown = f"  + {line}".rstrip()
            print(f"\x1b[32m{shown}\x1b[0m" if color else shown)
        print()


def _next(made: Plan) -> Iterator[str]:
    """What is left to do."""
    title = STARTERS[made.starter].title
    if made.application is None:
        yield f"\n{title}: no application was found, so an example is included."
    else:
        yield f"\n{title}: {_place(made.application)}"
        for other in made.others:
            yield f"  not guarded: {_place(other)}"
    yield f"  1. Install: {made.install}"
    if made.application is None:
        yield f"  2. Run: {made.run}"
    elif made.enable:
        yield f"  2. In {made.application.path}, {made.where}, add:"
        yield from (f"         {line}".rstrip() for line in made.enable.splitlines())
    else:
        yield f"  2. Nothing to add: {made.application.path} has it."
    yield "  3. Watch what would be shed (would_shed in atrion.snapshot(), the log, Studio), and set enforce = true."


def _place(application: Application) -> str:
    return f"{application.path}:{application.line}"


def _plain(made: Plan) -> dict[str, Any]:
    def place(application: Application | None) -> dict[str, Any] | None:
        if application is None:
            return None
        return {"path": str(application.path), "line": application.line, "name": application.name}

    return {
        "framework": made.starter,
        "application": place(made.application),
        "not_guarded": [place(other) for other in made.others],
        "files": [{"path": str(file.path), "action": file.action, "text": file.text} for file in made.files],
        "install": made.install,
        "where": made.where,
        "enable": made.enable,
        "run": made.run,
    }
