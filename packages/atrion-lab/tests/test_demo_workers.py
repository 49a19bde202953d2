from __future__ import annotations

import importlib.util
import json
import urllib.request

import pytest

from atrion.cli import main
from atrion.errors import AtrionError
from atrion_lab.demo.play import server, shared_store
from atrion_lab.demo.processes import Processes
from atrion_lab.demo.services import SHAPES, slots_of

SLOTS = SHAPES["pooled"].slots


@pytest.mark.parametrize("workers", range(1, SLOTS + 1))
def test_the_pool_is_shared_out_whole(workers: int) -> None:
    parts = [slots_of(worker, workers, SLOTS) for worker in range(workers)]
    assert sum(parts) == SLOTS
    assert min(parts) >= 1


def test_several_workers_serve_on_one_socket() -> None:
    with (
        shared_store(3) as provider,
        Processes() as processes,
        server(processes, "pooled", 3, provider) as port,
    ):
        for _ in range(30):
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/search", timeout=10.0) as reply:
                assert reply.status == 200


@pytest.mark.slow
def test_the_demos_workers_share_what_they_learn(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--seconds", "8", "--workers", "2", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["workers"], result["workers_sharing"]) == (2, 2)
    assert result["protected"]["goodput_ratio"] > 0.0


def test_a_number_of_workers_that_makes_no_sense_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for number in ("0", str(SLOTS + 1)):
        assert main(["demo", "--workers", number]) == 2
        assert "--workers" in capsys.readouterr().err


def test_several_workers_need_their_extra(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "lmdb" else find(name))
    assert main(["demo", "--workers", "2"]) == 1
    assert "atrion[workers]" in capsys.readouterr().err


def test_a_worker_that_cannot_start_is_told_in_its_own_words() -> None:
    with (
        Processes() as processes,
        pytest.raises(AtrionError, match="nowhere"),
        server(processes, "pooled", 1, "nowhere://"),
    ):
        pytest.fail("it started")
