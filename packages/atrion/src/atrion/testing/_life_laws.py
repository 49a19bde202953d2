"""Laws of a provider's life: connecting twice, being cancelled, changing loops, and forking."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import warnings
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any

from atrion.engine import Atrion
from atrion.state import Batch, ClusterSync, Inspect, NodeRow, Recall
from atrion.testing.bench import Bench, ContractError, Law, expect, law, vector

__all__ = ["LIFE_LAWS"]

LIFE_LAWS: list[Law] = []

MOST_AWAITS = 500
"""Maximum number of awaits of one call at which it is cancelled."""


@law(LIFE_LAWS)
async def connecting_again_changes_nothing(bench: Bench) -> None:
    provider = await bench.open()
    await bench.keeps(provider, "r", 5.0, "after connect()")
    await bench.ask(provider.connect(), "connect() while connected")
    await bench.ask(asyncio.gather(*(provider.connect() for _ in range(5))), "five connect() at once")
    found = await bench.ask(provider.get_vector("r"), "get_vector")
    expect(found == vector(5.0), f"connect() while connected must change nothing; there is now {found}")


@law(LIFE_LAWS)
async def disconnecting_again_changes_nothing(bench: Bench) -> None:
    provider = bench.new()
    await bench.ask(provider.disconnect(), "disconnect() before any connect()")
    await bench.ask(provider.connect(), "connect()")
    await bench.keeps(provider, "r", 5.0, "after connect()")
    await bench.ask(asyncio.gather(*(provider.disconnect() for _ in range(5))), "five disconnect() at once")
    await bench.ask(provider.disconnect(), "disconnect() again")


@law(LIFE_LAWS)
async def a_provider_works_after_reconnecting(bench: Bench) -> None:
    provider = bench.new()
    for turn in range(3):
        await bench.ask(provider.connect(), "connect()")
        await bench.keeps(provider, "r", float(turn), "after reconnecting")
        await bench.ask(provider.disconnect(), "disconnect()")


# --- cancellation ----------------------------------------------------------------------------------------


class _Cancelled:
    """Awaits ``call`` and cancels the running task at its n-th await, exactly."""

    def __init__(self, call: Coroutine[Any, Any, Any], n: int) -> None:
        self._call = call
        self._n = n
        self.reached = False

    def __await__(self) -> Generator[Any, Any, Any]:
        call = self._call.__await__()
        task = asyncio.current_task()
        seen = 0
        answer: Any = None
        problem: BaseException | None = None
        while True:
            try:
                waited = call.send(answer) if problem is None else call.throw(problem)
            except StopIteration as end:
                return end.value
            seen += 1
            if seen == self._n and task is not None:
                self.reached = True
                task.cancel()
            answer = problem = None
            try:
                answer = yield waited
            except BaseException as error:  # handed on to the call itself
                problem = error


async def _cancel_at(call: Coroutine[Any, Any, Any], n: int, what: str) -> bool:
    """Cancel ``call`` at its n-th await; returns whether it had that many."""
    cancelled = _Cancelled(call, n)

    async def run() -> None:
        await cancelled

    task = asyncio.ensure_future(run())
    try:
        await task
    except asyncio.CancelledError:
        expect(cancelled.reached, f"{what} raised CancelledError of its own")
        return True
    except Exception as error:
        raise ContractError(
            f"{what}, cancelled at await {n}, must raise CancelledError, not {type(error).__name__}: {error}"
        ) from error
    expect(
        not cancelled.reached, f"{what}, cancelled at await {n}, must raise CancelledError, and swallowed it"
    )
    return False


def _calls(provider: Any) -> dict[str, Callable[[], Coroutine[Any, Any, Any]]]:
    """Every call of a provider, by its name in messages."""
    row = NodeRow(vector(7.0), 10.0, 0.1)
    calls: dict[str, Callable[[], Coroutine[Any, Any, Any]]] = {
        "update_vector": lambda: provider.update_vector("r", vector(1.0)),
        "get_vector": lambda: provider.get_vector("r"),
    }
    if isinstance(provider, Batch):
        calls["update_vectors"] = lambda: provider.update_vectors({"r": vector(2.0), "s": vector(3.0)})
    if isinstance(provider, ClusterSync):
        calls["exchange"] = lambda: provider.exchange("node", {"r": row}, ["r", "s"])
    if isinstance(provider, Recall):
        calls["recall"] = lambda: provider.recall("node", 10)
    if isinstance(provider, Inspect):
        calls["list_routes"] = lambda: provider.list_routes(10)
        calls["list_nodes"] = provider.list_nodes
    return calls


@law(LIFE_LAWS)
async def a_call_may_be_cancelled_at_any_await(bench: Bench) -> None:
    provider = await bench.open()
    for name, call in _calls(provider).items():
        for n in range(1, MOST_AWAITS):
            reached = await bench.ask(_cancel_at(call(), n, name), f"{name} cancelled at await {n}")
            when = f"after {name} was cancelled at await {n}"
            await bench.ask(provider.connect(), f"connect() {when}")
            await bench.keeps(provider, "r", float(n), when)
            if not reached:
                break


@law(LIFE_LAWS)
async def connect_and_disconnect_may_be_cancelled_at_any_await(bench: Bench) -> None:
    for name in ("connect", "disconnect"):
        for n in range(1, MOST_AWAITS):
            provider = bench.new() if name == "connect" else await bench.open()
            call = getattr(provider, name)
            reached = await bench.ask(_cancel_at(call(), n, name), f"{name} cancelled at await {n}")
            when = f"after {name} was cancelled at await {n}"
            await bench.ask(provider.connect(), f"connect() {when}")
            await bench.keeps(provider, "r", float(n), when)
            await bench.ask(provider.disconnect(), f"disconnect() {when}")
            if not reached:
                break


# --- other loops, other processes ------------------------------------------------------------------------


@law(LIFE_LAWS)
async def a_provider_may_move_to_another_event_loop(bench: Bench) -> None:
    provider = bench.new()

    async def live(turn: int, leave: bool) -> None:
        async with asyncio.timeout(bench.patience):
            await provider.connect()
            await provider.update_vector("r", vector(float(turn)))
            found = await provider.get_vector("r")
            expect(found == vector(float(turn)), f"in loop {turn}, wrote {vector(float(turn))}, read {found}")
            if leave:
                await provider.disconnect()

    def loops() -> None:
        for turn, leave in enumerate((True, True, False, False, True)):
            asyncio.run(live(turn, leave))

    when = "a provider used in several event loops, one after another, some ended without disconnect(),"
    await bench.ask(asyncio.to_thread(loops), when)


@law(LIFE_LAWS)
async def a_forked_child_and_its_parent_both_go_on(bench: Bench) -> None:
    if not hasattr(os, "fork"):
        return  # this system has no fork
    provider = await bench.open()
    await bench.keeps(provider, "parent", 1.0, "before the fork")

    async def child() -> None:
        async with asyncio.timeout(bench.patience):
            await provider.connect()
            for turn in range(20):
                await provider.update_vector("child", vector(float(turn)))
                found = await provider.get_vector("child")
                expect(found == vector(float(turn)), f"in a forked child, wrote scar {turn}, read {found}")
            await provider.disconnect()

    ended = asyncio.ensure_future(_in_child(child, 2.0 * bench.patience))
    await asyncio.sleep(0.0)
    for turn in range(20):
        await bench.keeps(provider, "parent", float(turn), "in the parent of a fork")
    await ended
    await bench.keeps(provider, "parent", 2.0, "in the parent, when its child has ended")


@law(LIFE_LAWS)
async def an_engine_that_pulses_goes_on_in_a_forked_child(bench: Bench) -> None:
    engine = Atrion(provider=bench.new(), interval=0.02)
    await bench.ask(asyncio.to_thread(engine.__enter__), "entering an engine")

    async def shares(route: str, where: str) -> None:
        engine.restore(route, vector(5.0), 0.0)
        await bench.until(
            lambda: engine.state.get_local(route) is not None, f"a pulse must send what is new {where}"
        )
        expect(engine.state.failures == 0, f"no pulse may fail {where}; {engine.state.failures} did")

    try:
        await shares("before", "before a fork")
        await _in_child(lambda: shares("child", "in a forked child"), 2.0 * bench.patience)
        await shares("after", "in the parent of a fork")
    finally:
        await bench.ask(asyncio.to_thread(engine.__exit__, None, None, None), "leaving an engine")


async def _in_child(work: Callable[[], Awaitable[None]], patience: float) -> None:
    """Run ``work`` in a forked child with an event loop of its own; raises what went wrong there."""
    readable, writable = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", DeprecationWarning
        )  # forking with other threads is what this law checks
        pid = os.fork()
    if pid == 0:
        _child(work, writable)
    os.close(writable)
    try:
        status = await _ended(pid, patience)
        trouble = os.read(readable, 4000).decode() or f"a forked child ended with status {status}"
    finally:
        os.close(readable)
    expect(status == 0, trouble)


def _child(work: Callable[[], Awaitable[None]], writable: int) -> None:
    """Run in the child; never returns."""
    trouble: list[str] = []

    async def main() -> None:
        await work()

    def run() -> None:
        try:
            asyncio.run(main())
        except BaseException as error:  # reported by the parent
            trouble.append(f"in a forked child: {type(error).__name__}: {error}")

    try:
        thread = threading.Thread(target=run)  # where no event loop runs yet
        thread.start()
        thread.join()
        if trouble:
            os.write(writable, trouble[0].encode()[:4000])
    finally:
        os._exit(1 if trouble else 0)


async def _ended(pid: int, patience: float) -> int:
    """The exit status of a child, which is killed after ``patience`` seconds."""
    ended = asyncio.ensure_future(asyncio.to_thread(os.waitpid, pid, 0))
    try:
        async with asyncio.timeout(patience):
            return os.waitstatus_to_exitcode((await asyncio.shield(ended))[1])
    except TimeoutError:
        os.kill(pid, signal.SIGKILL)
        await ended
        raise ContractError(f"a forked child must not hang, and had not ended after {patience} s") from None
