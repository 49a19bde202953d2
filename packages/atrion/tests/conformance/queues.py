"""Task queues with real brokers: what happens to tasks in them."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import arq
import celery
import dramatiq
from arq.connections import RedisSettings
from arq.worker import Worker as ArqWorker
from celery.contrib.testing.worker import start_worker
from celery.signals import setup_logging
from dramatiq.brokers.redis import RedisBroker
from taskiq import InMemoryBroker

from atrion import Atrion, Outcome
from atrion.integrations import arq as for_arq
from atrion.integrations import celery as for_celery
from atrion.integrations import dramatiq as for_dramatiq
from atrion.integrations import taskiq as for_taskiq
from atrion.propagation import current, use
from atrion.testing import force_shed
from benchmarks.stores.redis_server import RedisServer, valkey_binary
from packages.atrion.tests.conformance.http_clients import Loop
from packages.atrion.tests.conformance.subject import Recorder, Subject, eventually

__all__ = ["QUEUES"]


def _keep_logging(**rest: object) -> None:
    """What Celery would set up for its workers is the tests' own here."""


setup_logging.connect(_keep_logging, weak=False)
Send = Callable[..., None]
"""Sends a task by its name: ``work``, or ``broken``, which raises."""
Serve = Callable[..., Any]


class Done:
    """What the tasks have done, and the tier that they were done in."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.tiers: list[str] = []

    def work(self, number: int) -> None:
        tier = current().tier
        self.numbers.append(number)
        self.tiers.append("" if tier is None else tier.name.lower())


@contextmanager
def with_celery(engine: Atrion, port: int, done: Done, **options: Any) -> Iterator[Send]:
    app = celery.Celery("shop", broker=f"redis://127.0.0.1:{port}/1", set_as_current=False)
    app.conf.update(broker_connection_retry_on_startup=True, task_default_queue=f"celery-{id(done)}")
    for_celery.install(app, engine, **options)

    @app.task(name="work", shared=False)
    def work(number: int) -> None:
        done.work(number)

    @app.task(name="broken", shared=False)
    def broken() -> None:
        raise RuntimeError("boom")

    with start_worker(app, pool="solo", perform_ping_check=False, shutdown_timeout=20.0):
        yield lambda name, *given: app.send_task(name, given)
    app.close()


@contextmanager
def with_dramatiq(engine: Atrion, port: int, done: Done, **options: Any) -> Iterator[Send]:
    broker = RedisBroker(host="127.0.0.1", port=port, db=2, namespace=f"dramatiq-{id(done)}")
    broker.add_middleware(for_dramatiq.AtrionMiddleware(engine, **options))

    @dramatiq.actor(broker=broker, actor_name="work")
    def work(number: int) -> None:
        done.work(number)

    @dramatiq.actor(broker=broker, actor_name="broken", max_retries=0)
    def broken() -> None:
        raise RuntimeError("boom")

    worker = dramatiq.Worker(broker, worker_timeout=50, worker_threads=2)
    worker.start()
    try:
        yield lambda name, *given: broker.actors[name].send(*given) and None
    finally:
        worker.stop()
        broker.close()


@contextmanager
def with_arq(engine: Atrion, port: int, done: Done, **options: Any) -> Iterator[Send]:
    settings = RedisSettings(host="127.0.0.1", port=port, database=3)
    queue = f"arq:{id(done)}"

    @for_arq.guard(engine, **options)
    async def work(ctx: dict[Any, Any], number: int) -> None:
        done.work(number)

    @for_arq.guard(engine, **options)
    async def broken(ctx: dict[Any, Any]) -> None:
        raise RuntimeError("boom")

    functions = [arq.func(work, name="work"), arq.func(broken, name="broken")]
    loop = Loop()
    with loop.running():

        async def start() -> tuple[Any, ArqWorker, asyncio.Task[None]]:
            pool = await arq.create_pool(settings, default_queue_name=queue)
            worker = ArqWorker(
                functions,
                redis_pool=pool,
                queue_name=queue,
                poll_delay=0.05,
                handle_signals=False,
                max_tries=2,
            )
            return pool, worker, asyncio.create_task(worker.async_run())

        pool, worker, task = loop.run(start())

        async def stop() -> None:
            task.cancel()
            await asyncio.gather(task, *worker.tasks.values(), return_exceptions=True)
            with suppress(asyncio.CancelledError):  # of a job that was about to begin
                await worker.close()
            await pool.aclose(close_connection_pool=True)
            await pool.connection_pool.disconnect()

        yield lambda name, *given: loop.run(for_arq.enqueue_job(pool, name, *given)) and None
        loop.run(stop())


@contextmanager
def with_taskiq(engine: Atrion, port: int, done: Done, **options: Any) -> Iterator[Send]:
    broker = InMemoryBroker().with_middlewares(for_taskiq.AtrionMiddleware(engine, **options))

    @broker.task(task_name="work")
    async def work(number: int) -> None:
        done.work(number)

    @broker.task(task_name="broken")
    def broken() -> None:
        raise RuntimeError("boom")

    loop = Loop()
    with loop.running():
        loop.run(broker.startup())

        async def send(name: str, *given: Any) -> None:
            task = broker.find_task(name)
            assert task is not None
            await task.kiq(*given)

        yield lambda name, *given: loop.run(send(name, *given))
        loop.run(broker.shutdown())


class Queue(Subject):
    """A task queue's guard."""

    def __init__(self, title: str, serve: Serve, prefix: str = "") -> None:
        self.title = title
        self._serve = serve
        self._prefix = prefix

    @contextmanager
    def session(
        self, engine: Recorder | None = None, **options: Any
    ) -> Iterator[tuple[Recorder, Done, Send]]:
        engine, done = engine or Recorder(), Done()
        with warnings.catch_warnings(), RedisServer(binary=valkey_binary()) as server:
            warnings.filterwarnings("ignore", "Call to deprecated close", DeprecationWarning)  # arq's own
            with self._serve(engine, server.port, done, **options) as send:
                yield engine, done, send
                eventually(lambda: engine.in_flight() == 0)

    def route(self, name: str) -> str:
        return self._prefix + name

    def refused(self) -> str:
        with self.session() as (engine, done, send):
            with force_shed("critical", engine=engine):
                for number in range(5):
                    send("work", number)
                eventually(lambda: len(engine.calls) >= 7)  # some have been shed twice
                assert done.numbers == []
            eventually(lambda: sorted(done.numbers) == [0, 1, 2, 3, 4], 40.0)
        return "sent again after `retry_after`, never lost"

    def faults(self) -> str:
        with self.session() as (engine, _, send):
            for name, outcome in (("broken", Outcome.FAILURE), ("work", Outcome.SUCCESS)):
                send(name, *([1] if name == "work" else []))
                eventually(lambda: bool(engine.calls) and engine.calls[-1].outcome is outcome)  # noqa: B023
        return "exceptions"

    def name(self) -> str:
        with self.session() as (engine, done, send):
            send("work", 1)
            eventually(lambda: done.numbers == [1])
            assert list(engine.snapshot()) == [self.route("work")]
        return "task"

    def tier_and_key(self) -> str:
        tier = {self.route("work"): "critical"}.get
        with self.session(tier=tier) as (engine, done, send), force_shed("high", engine=engine):
            send("work", 1)
            eventually(lambda: done.numbers == [1])
        with self.session() as (engine, done, send), force_shed("high", engine=engine):
            with use(tier="critical"):
                send("work", 1)
            eventually(lambda: done.numbers == [1])
            assert done.tiers == ["critical"]
        return "by task, or that of the request that sent it"

    def nothing_left(self) -> str:
        with self.session() as (engine, done, send):
            send("broken")
            send("work", 1)
            eventually(lambda: done.numbers == [1] and engine.in_flight() == 0)
        return "exceptions"

    def streams(self) -> str:
        return "–"

    def excluded(self) -> str:
        with self.session(exclude=[self.route("broken")]) as (engine, done, send):
            send("broken")
            send("work", 1)
            eventually(lambda: done.numbers == [1])
            assert list(engine.snapshot()) == [self.route("work")]
        return "by task"

    def shadow(self) -> str:
        with self.session(Recorder(enforce=False)) as (engine, done, send):
            with force_shed("critical", engine=engine):
                send("work", 1)
                eventually(lambda: done.numbers == [1])
            assert engine.snapshot()[self.route("work")].would_shed == 1
        return "✓"

    def pattern(self) -> str:
        with self.session() as (engine, done, send):
            engine.configure(self.route("wo*"), tier="critical")
            with force_shed("high", engine=engine):
                send("work", 1)
                eventually(lambda: done.numbers == [1])
        return "✓"


QUEUES = (
    Queue("Celery", with_celery),
    Queue("Dramatiq", with_dramatiq),
    Queue("arq", with_arq, "with_arq.<locals>."),
    Queue("taskiq", with_taskiq),
)
