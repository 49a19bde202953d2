"""What guards of task queues do beyond the conformance table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import celery
import pytest

from atrion import Atrion, ConfigurationError, FlowRejected
from atrion.integrations import arq as for_arq
from atrion.integrations import celery as for_celery
from atrion.integrations import dramatiq as for_dramatiq
from atrion.integrations import taskiq as for_taskiq
from atrion.testing import force_shed
from packages.atrion.tests.conformance.subject import Recorder


def test_a_task_that_is_called_as_a_function_raises_the_rejection() -> None:
    engine, app = Recorder(), celery.Celery("shop", set_as_current=False)
    for_celery.install(app, engine)

    @app.task(name="add", shared=False)
    def add(a: int, b: int) -> int:
        return a + b

    assert add(1, 2) == 3
    with force_shed("critical", engine=engine), pytest.raises(FlowRejected):
        add(1, 2)


@pytest.mark.parametrize("options", [{"tier": "urgent"}, {"exclude": "work"}], ids=str)
@pytest.mark.parametrize(
    "make",
    [
        lambda **options: for_celery.install(celery.Celery("x", set_as_current=False), Atrion(), **options),
        lambda **options: for_dramatiq.AtrionMiddleware(Atrion(), **options),
        lambda **options: for_taskiq.AtrionMiddleware(Atrion(), **options),
        lambda **options: for_arq.guard(Atrion(), **options),
    ],
    ids=["celery", "dramatiq", "taskiq", "arq"],
)
def test_an_unusable_option_is_refused(make: Callable[..., object], options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        make(**options)
