"""What the kernel knows of sockets."""

from __future__ import annotations

import os
import socket
import sys
import time

import pytest

from atrion.integrations._sockets import Backlog, since_received

linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells how many connections wait")


@linux
@pytest.mark.parametrize("family, host", [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_connections_count_until_they_are_accepted(family: socket.AddressFamily, host: str) -> None:
    with socket.create_server((host, 0), family=family) as listener:
        address = listener.getsockname()
        backlog = Backlog(address[1])
        assert backlog.waiting() == 0
        clients = [socket.create_connection(address[:2]) for _ in range(3)]
        assert backlog.waiting() == 3
        accepted, _ = listener.accept()
        assert backlog.waiting() == 2
        for each in (accepted, *clients):
            each.close()


def test_other_sockets_do_not_count() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other, socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with socket.create_connection(other.getsockname()):
            assert Backlog(port).waiting() == 0
            assert Backlog(None).waiting() == 0


def test_it_neither_closes_the_socket_nor_keeps_it_open() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    address = listener.getsockname()
    backlog = Backlog(address[1])
    descriptor = listener.fileno()
    del backlog
    os.fstat(descriptor)
    backlog = Backlog(address[1])
    listener.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address)
    assert backlog.waiting() == 0
    with socket.create_server(("127.0.0.1", 0)):  # it may get the same descriptor
        assert backlog.waiting() == 0


@linux
def test_a_request_has_waited_since_its_last_data_came() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        accepted, _ = listener.accept()
        client.sendall(b"GET /")
        sent = time.monotonic()
        time.sleep(0.3)
        waited = since_received(accepted)
        passed = time.monotonic() - sent
        client.sendall(b" HTTP/1.1")
        accepted.recv(100)
        again = since_received(accepted)
        accepted.close()
        client.close()
    assert waited is not None
    assert again is not None
    assert 0.2 < waited < passed + 0.1
    assert again < waited


def test_a_socket_of_another_kind_says_nothing() -> None:
    one, other = socket.socketpair()
    with one, other:
        assert since_received(one) is None
