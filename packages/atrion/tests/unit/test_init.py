"""``atrion init`` finds the framework of a project, shows a starter, and writes it without overwriting anything."""

from __future__ import annotations

import json
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from atrion import Atrion
from atrion.cli import main
from atrion.cli.starters import STARTERS

APPLICATIONS = {
    "fastapi": "import fastapi\napp = fastapi.FastAPI()\n",
    "litestar": "from litestar import Litestar\napp = Litestar([])\n",
    "starlette": "from starlette.applications import Starlette as Web\napp = Web()\n",
    "django": "ROOT_URLCONF = 'shop.urls'\nMIDDLEWARE = []\n",
    "flask": "from flask import Flask\ndef create_app():\n    app = Flask('shop')\n    return app\n",
    "aiohttp": "from aiohttp import web\napp = web.Application()\n",
    "grpc-aio": "import grpc\nasync def main():\n    server = grpc.aio.server()\n",
    "grpc": "import grpc\nserver = grpc.server(None)\n",
    "celery": "from celery import Celery\napp: Celery = Celery('shop')\n",
    "dramatiq": "from dramatiq.brokers.redis import RedisBroker\nbroker = RedisBroker()\n",
    "arq": "from arq import Retry\nclass WorkerSettings:\n    functions = ()\n",
    "taskiq": "import taskiq_redis\nbroker = taskiq_redis.ListQueueBroker('redis://')\n",
}


def files_of(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def planned(folder: Path, capsys: pytest.CaptureFixture[str], *words: str) -> list[dict[str, Any]]:
    capsys.readouterr()
    assert main(["init", str(folder), "--json", *words]) == 0
    starters: list[dict[str, Any]] = json.loads(capsys.readouterr().out)["starters"]
    return starters


def refused(folder: Path, capsys: pytest.CaptureFixture[str], *words: str) -> str:
    before = files_of(folder) if folder.is_dir() else {}
    assert main(["init", str(folder), "--write", *words]) in {1, 2}
    assert (files_of(folder) if folder.is_dir() else {}) == before
    return capsys.readouterr().err


def test_every_starter_has_its_case() -> None:
    assert APPLICATIONS.keys() == STARTERS.keys()


@pytest.mark.parametrize("name", APPLICATIONS)
def test_an_application_is_found_where_it_is_made(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    package = tmp_path / "src/shop"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "main.py").write_text(APPLICATIONS[name])
    (found,) = planned(tmp_path, capsys)
    assert found["framework"] == name
    assert found["application"]["path"] == str(package / "main.py")
    module = f"atrion_{name.replace('-', '_')}"
    assert f"from shop.{module} import " in found["enable"]
    if found["application"]["name"] and "protect" in found["enable"]:
        assert f"protect({found['application']['name']})" in found["enable"]
    assert [(file["path"], file["action"]) for file in found["files"]] == [
        (str(package / f"{module}.py"), "create"),
        (str(tmp_path / "atrion.toml"), "create"),
    ]


def test_nothing_of_a_project_is_executed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bomb = "import pathlib\npathlib.Path(__file__).with_name('ran').touch()\n"
    for name in ("main.py", "sitecustomize.py", "setup.py", "fastapi.py", "conftest.py"):
        (tmp_path / name).write_text(bomb + APPLICATIONS["fastapi"])
    modules = set(sys.modules)
    planned(tmp_path, capsys, "--write")
    assert not (tmp_path / "ran").exists()
    assert "fastapi" not in set(sys.modules) - modules


@pytest.mark.parametrize(
    "file, content",
    [
        (
            "pyproject.toml",
            '[project]\nname = "shop"\ndependencies = ["uvicorn", "FastAPI[standard]>=0.1"]\n',
        ),
        ("pyproject.toml", '[dependency-groups]\nweb = ["fastapi", {include-group = "x"}]\n'),
        ("pyproject.toml", '[tool.poetry.dependencies]\npython = "^3.11"\nfastapi = "*"\n'),
        ("requirements.txt", "# web\n-r base.txt\nstarlette==1.0\nfastapi==0.115 ; python_version > '3'\n"),
        ("requirements/web.txt", "fastapi\n"),
        ("main.py", "from fastapi import APIRouter\n"),
    ],
)
def test_a_framework_without_an_application_gets_an_example(
    file: str, content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text(content)
    (found,) = planned(tmp_path, capsys)
    assert found["framework"] == "fastapi"
    assert found["application"] is None
    assert [Path(each["path"]).name for each in found["files"][:2]] == [
        "atrion_fastapi.py",
        "fastapi_service.py",
    ]
    assert found["run"] == "python fastapi_service.py 8000"


def test_a_web_application_and_its_tasks_get_a_starter_each(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "main.py").write_text(APPLICATIONS["fastapi"])
    (tmp_path / "tasks.py").write_text(APPLICATIONS["celery"])
    assert [each["framework"] for each in planned(tmp_path, capsys, "--write")] == ["fastapi", "celery"]
    assert {"atrion_fastapi.py", "atrion_celery.py", "atrion.toml"} < files_of(tmp_path).keys()


def test_tests_environments_and_broken_files_are_passed_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("tests/app.py", "env/lib/app.py", ".venv/app.py", "test_app.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(APPLICATIONS["fastapi"])
    (tmp_path / "env/pyvenv.cfg").touch()
    (tmp_path / "old.py").write_text("print 'two'\n")
    (tmp_path / "binary.py").write_bytes(b"\0\xff")
    (tmp_path / "web.py").write_text(APPLICATIONS["flask"])
    assert [each["framework"] for each in planned(tmp_path, capsys)] == ["flask"]


def test_further_applications_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "main.py").write_text(APPLICATIONS["fastapi"])
    (tmp_path / "admin").mkdir()
    (tmp_path / "admin/main.py").write_text(APPLICATIONS["fastapi"])
    assert main(["init", str(tmp_path)]) == 0
    assert f"not guarded: {tmp_path / 'admin/main.py'}:2" in capsys.readouterr().out


def test_the_files_are_shown_first_and_written_on_demand(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "main.py").write_text(APPLICATIONS["fastapi"])
    before = files_of(tmp_path)
    assert main(["init", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert files_of(tmp_path) == before
    assert "--write writes the files" in said
    assert main(["init", str(tmp_path), "--write"]) == 0
    after = files_of(tmp_path)
    assert after.keys() - before.keys() == {"atrion_fastapi.py", "atrion.toml"}
    for name in after.keys() - before.keys():
        assert all(f"  + {line}".rstrip() in said.splitlines() for line in after[name].splitlines())


def test_the_table_is_added_to_pyproject_and_read_by_the_engine(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ATRION_ENFORCE", raising=False)
    path = tmp_path / "pyproject.toml"
    given = b'[project]\r\nname = "shop"\r\ndependencies = ["flask"]'
    path.write_bytes(given)
    planned(tmp_path, capsys, "--write")
    assert path.read_bytes().startswith(given + b"\r\n\r\n[tool.atrion]\r\n")
    assert tomllib.loads(path.read_text())["tool"]["atrion"] == {"enforce": False}
    assert Atrion.from_config(path).decide("x").allowed


def test_writing_twice_changes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "shop"\n')
    planned(tmp_path, capsys, "--framework", "flask", "--write")
    before = files_of(tmp_path)
    (again,) = planned(tmp_path, capsys, "--write")
    assert files_of(tmp_path) == before
    assert {file["action"] for file in again["files"]} == {"keep"}
    assert again["enable"] == ""


def test_settings_that_are_there_are_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "pyproject.toml"
    path.write_text("[tool.atrion]\ngamma = 0.5\n")
    planned(tmp_path, capsys, "--framework", "flask", "--write")
    assert path.read_text() == "[tool.atrion]\ngamma = 0.5\n"


def test_a_file_that_exists_is_not_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "flask_service.py").write_text("mine = True\n")
    said = refused(tmp_path, capsys, "--framework", "flask")
    assert "flask_service.py" in said
    assert "nothing is overwritten" in said


@pytest.mark.parametrize("content", ["[project\n", "tool = {}\n", b"\xff"])
def test_a_pyproject_that_cannot_take_the_table_is_refused(
    content: str | bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "pyproject.toml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    before = path.read_bytes()
    assert main(["init", str(tmp_path), "--framework", "flask", "--write"]) == 1
    assert "pyproject.toml" in capsys.readouterr().err
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_without_a_framework_the_error_says_how_to_name_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "--framework" in refused(tmp_path, capsys)
    assert "must be the folder of a project" in refused(tmp_path / "missing", capsys, "--framework", "flask")
    with pytest.raises(SystemExit) as end:
        main(["init", str(tmp_path), "--framework", "flaks"])
    assert end.value.code == 2
    assert "did you mean flask?" in capsys.readouterr().err


def test_a_file_that_cannot_be_written_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "atrion_flask.py").symlink_to(tmp_path / "missing")
    assert main(["init", str(tmp_path), "--framework", "flask", "--write"]) == 1
    assert "atrion_flask.py cannot be written: File exists" in capsys.readouterr().err
    assert not (tmp_path / "missing").exists()
