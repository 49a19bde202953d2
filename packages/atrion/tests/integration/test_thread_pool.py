"""A WSGI server with a pool of threads: its queue stands before the threads, where no guard sees it."""

from __future__ import annotations

import asyncio
import time

import pytest

from atrion.integrations._process import ThreadPool
from packages.atrion.tests.integration.open_loop import clients, served, share, traffic

SERVER = """
import sys, time
from concurrent.futures import ThreadPoolExecutor
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from atrion import Atrion
from atrion.integrations._process import ThreadPool
from atrion.integrations._sockets import since_received

SIZE = 4

def hold():
    time.sleep(0.04)

def compute():
    end = time.thread_time() + 0.005
    while time.thread_time() < end:
        pass

work = {"hold": hold, "compute": compute}[sys.argv[2]]

def answer(start_response, status):
    start_response(status, [("content-length", "2")])
    return [b"ok"]

def app(environ, start_response):
    work()
    return answer(start_response, "200 OK")

atrion, pool = Atrion(), ThreadPool(SIZE)

def guarded(environ, start_response):
    flow = atrion.flow("GET /", environ.get("HTTP_X_ATRION_TIER", "bulk"))
    flow.behind(pool.enter(int(environ["SERVER_PORT"]), None, since_received(environ["server.socket"])))
    try:
        if not flow.decide().allowed:
            return answer(start_response, "503 Service Unavailable")
        try:
            return app(environ, start_response)
        finally:
            flow.finish()
    finally:
        pool.leave()

class Handler(WSGIRequestHandler):
    def get_environ(self):
        return {**super().get_environ(), "server.socket": self.connection}

    def log_message(self, *said):
        pass

class Pooled(WSGIServer):
    request_queue_size = 4096
    threads = ThreadPoolExecutor(SIZE)

    def process_request(self, request, client_address):
        self.threads.submit(self._serve, request, client_address)

    def _serve(self, request, client_address):
        try:
            self.finish_request(request, client_address)
        except OSError:  # the client has left
            pass
        finally:
            self.shutdown_request(request)

    def handle_error(self, request, client_address):
        pass

server = Pooled(("127.0.0.1", int(sys.argv[1])), Handler)
server.set_app(guarded if sys.argv[3] == "guarded" else app)
server.serve_forever()
"""
CAPACITY = {"hold": 100.0, "compute": 180.0}
"""Requests that it can answer in a second, about."""


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.parametrize("work", CAPACITY)
def test_a_pool_that_is_always_full_serves_what_is_critical(work: str) -> None:
    rate = CAPACITY[work]
    with served(SERVER, work, "guarded") as port:
        calm = asyncio.run(traffic(port, 0.3 * rate, 2.0))
        over = asyncio.run(traffic(port, 3.0 * rate, 8.0))
        after = asyncio.run(traffic(port, 0.3 * rate, 3.0))
    with served(SERVER, work, "alone") as port:
        alone = asyncio.run(traffic(port, 3.0 * rate, 8.0))
    assert share(calm, b"503") == 0.0
    assert share(over, b"200", "critical") > 0.6
    assert share(over, b"200", "critical") > 2.0 * share(alone, b"200", "critical")
    assert share(over, b"200") > 1.5 * share(alone, b"200")
    assert share(after, b"200") > 0.8


@pytest.mark.slow
def test_a_wait_for_a_thread_that_a_proxy_reports_as_well_counts_once() -> None:
    pool = ThreadPool(4)
    for wait in [0.0] * 3 + [0.6] * 8:  # with two calls behind each of the latter
        process = pool.enter(told=wait, waited=wait)
        pool.leave()
        time.sleep(0.2)
    assert process.ohms == 0.0


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 4])
def test_clients_that_wait_for_their_answers_are_never_refused(count: int) -> None:
    with served(SERVER, "hold", "guarded") as port:
        answers = asyncio.run(clients(port, count, 2.0))
    assert len(answers) > 20
    assert share(answers, b"503") == 0.0
