"""The starters of ``atrion init``: one for each framework, made of the templates in this folder."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from string import Template

__all__ = ["STARTERS", "Starter", "text"]


@dataclass(frozen=True)
class Starter:
    """What is known of a framework.

    Attributes:
        title: its name.
        made: a regular expression of what makes an application, as a dotted name.
        package: the package that requires it, as PyPI spells it, and imports it.
        enable: what is added to the program, with ``{guard}``, ``{app}`` for the module and the variable.
        where: the place where that is added.
        extra: the extra of ``atrion``; empty if there is none.
        serve: other packages that the example service needs.
        run: how the example service is started, with ``{module}``.
        app: the variable of the application in the example service.
    """

    title: str
    made: str
    package: str
    where: str = "after the line that makes the application"
    enable: str = "from {guard} import protect\n\nprotect({app})"
    extra: str = ""
    serve: tuple[str, ...] = ()
    run: str = "python {module}.py 8000"
    app: str = "app"


STARTERS = {
    "fastapi": Starter(
        "FastAPI", r"fastapi(\.applications)?\.FastAPI", "fastapi", extra="fastapi", serve=("uvicorn",)
    ),
    "litestar": Starter(
        "Litestar",
        r"litestar(\.app)?\.Litestar",
        "litestar",
        "in the arguments of Litestar(…)",
        "from {guard} import plugin\n\nLitestar(..., plugins=[plugin])",
        "litestar",
        ("uvicorn",),
    ),
    "starlette": Starter(
        "Starlette", r"starlette\.applications\.Starlette", "starlette", serve=("starlette", "uvicorn")
    ),
    "django": Starter(
        "Django",
        r"django\.ROOT_URLCONF",
        "django",
        "at the end of the settings",
        "from {guard} import ATRION\n\n"
        'MIDDLEWARE = ["atrion.integrations.django.AtrionMiddleware", *MIDDLEWARE]',
        "django",
    ),
    "flask": Starter("Flask", r"flask(\.app)?\.Flask", "flask", extra="flask"),
    "aiohttp": Starter("aiohttp.web", r"aiohttp\.web(_app)?\.Application", "aiohttp", extra="aiohttp"),
    "grpc-aio": Starter(
        "grpc.aio",
        r"grpc\.aio\.server",
        "grpcio",
        "in the arguments of grpc.aio.server(…)",
        "from {guard} import interceptor\n\ngrpc.aio.server(..., interceptors=[interceptor])",
        "grpc",
    ),
    "grpc": Starter(
        "gRPC",
        r"grpc\.server",
        "grpcio",
        "in the arguments of grpc.server(…)",
        "from {guard} import interceptor\n\ngrpc.server(..., interceptors=[interceptor])",
        "grpc",
    ),
    "celery": Starter(
        "Celery",
        r"celery(\.app)?\.Celery",
        "celery",
        "after the line that makes the application, before the tasks are declared",
        extra="celery",
        serve=("redis",),
        run="celery --app {module} worker",
    ),
    "dramatiq": Starter(
        "Dramatiq",
        r"dramatiq\.brokers\.\w+\.\w+Broker",
        "dramatiq",
        "after the line that makes the broker",
        extra="dramatiq",
        serve=("redis",),
        run="dramatiq {module}",
        app="broker",
    ),
    "arq": Starter(
        "arq",
        r"arq\.WorkerSettings",
        "arq",
        "at each job",
        "from {guard} import guarded\n\n@guarded\nasync def job(ctx): ...",
        "arq",
        run="arq {module}.WorkerSettings",
    ),
    "taskiq": Starter(
        "taskiq",
        r"taskiq\w*(\.\w+)*\.\w+Broker",
        "taskiq",
        "after the line that makes the broker",
        extra="taskiq",
        run="python {module}.py",
        app="broker",
    ),
}
"""By name, those first that build on others."""


def text(template: str, **values: str) -> str:
    """A template with its values."""
    found = (files(__name__) / f"{template}.txt").read_text(encoding="utf-8")
    return Template(found).substitute(values)
