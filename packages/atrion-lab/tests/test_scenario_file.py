"""Scenarios described in TOML: what a file may say, and what is refused with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from atrion.errors import AtrionError, ConfigurationError
from atrion.physics.config import SLO
from atrion_lab.arrivals import Closed, Poisson
from atrion_lab.scenario_file import load_file, read_text
from atrion_lab.scenarios import DESCRIBED, SCENARIOS, described
from atrion_lab.services import Mixture
from small_scenario import HEAD, PLAIN, SERVER, TRAFFIC, describe


@pytest.mark.parametrize("name", DESCRIBED)
def test_the_files_that_come_along_are_sound(name: str) -> None:
    found = described(name)
    assert found.scenario.name == name
    assert found.scenario.about
    assert found.expect
    assert name not in SCENARIOS


def test_what_is_left_out_has_a_default() -> None:
    found = describe(PLAIN)
    scenario = found.scenario
    assert scenario.window == (0.0, 10.0)
    assert scenario.slo is None
    assert not scenario.pools
    assert scenario.cluster is None
    assert not found.expect
    server = scenario.servers["api"]
    assert server.queue is None
    assert not server.shared
    assert scenario.traffic[0].retries == 0


def test_every_key_says_what_it_is() -> None:
    found = describe(
        """
        name = "full"
        about = "everything"
        seconds = 20
        window = [5, 19]
        slo = { latency = 0.5 }
        pools = { front = "database", back = "database" }
        expect = { idle_rejects = 0.001, success = { critical = 0.9 }, well_over_possible = 0.9 }
        [report]
        well = ["back"]
        [servers.web]
        workers = 4
        queue = 8
        worsening = 0.1
        reject_cost = 0.01
        discipline = "shared"
        service = { law = "mixture", parts = [
          { weight = 1, law = "exponential", mean = 0.01 }, { weight = 2, law = "pareto", mean = 0.02, alpha = 1.5 } ] }
        [[servers.web.phases]]
        start = 1
        slow = 2.0
        fail_after = 0.005
        [[servers.web.phases]]
        start = 2
        fail = 0.5
        [servers.db]
        workers = 2
        service = { law = "bimodal", mean = 0.01, share = 0.2, ratio = 5 }
        [routes.front]
        server = "web"
        calls = ["back", ["back", "db"]]
        [routes.back]
        server = "db"
        [[traffic]]
        to = ["front", "back"]
        arrivals = { law = "bursty", rates = [1, 10], dwell = 2 }
        mix = { critical = 1, bulk = 3 }
        work = 2
        deadline = 1
        keys = 0
        retries = 2
        backoff = 0.1
        honour = true
        budget = 0.1
        [[traffic]]
        to = "back"
        arrivals = { law = "closed", users = 3, think = 0.5 }
        [cluster]
        pods = 3
        loss = 0.1
        apart = [5, 6, 0.5]
        leaves = [1, 10]
        """
    )
    scenario = found.scenario
    web = scenario.servers["web"]
    assert isinstance(web.law, Mixture)
    assert web.shared
    assert web.fails
    second = web.phases[1]
    assert (second.slow, second.fail, second.fail_after, second.workers) == (2.0, 0.5, 0.005, None)
    assert scenario.routes["front"].calls == ("back", ("back", "db"))
    assert scenario.slo == SLO(latency=0.5)
    assert scenario.traffic[0].mix == (3.0, 0.0, 0.0, 0.0, 1.0)
    assert scenario.cluster is not None
    assert scenario.cluster.leaves == (1, 10.0)
    assert found.well == ("back",)
    assert found.expect == {"idle_rejects": 0.001, "success.critical": 0.9, "well_over_possible": 0.9}


@pytest.mark.parametrize(
    "old, new, place",
    [
        ("seconds = 10", "seconds = -1", "seconds"),
        ("seconds = 10", "secs = 10", "secs"),
        ("seconds = 10", "window = [5, 3]", "window"),
        ("seconds = 10", 'window = ["a", 3]', "window"),
        ("seconds = 10", "slo = { latency = 0 }", "slo.latency"),
        ("seconds = 10", "slo = 1", "slo"),
        ("seconds = 10", 'pools = { nowhere = "db" }', "pools.nowhere"),
        ("seconds = 10", "expect = { beauty = 1 }", "expect.beauty"),
        ("seconds = 10", "expect = { well_over_possible = 1 }", "expect.well_over_possible"),
        ("seconds = 10", "expect = { success = { king = 1 } }", "expect.success.king"),
        ("seconds = 10", 'report = { well = ["x"] }', "report.well"),
        ("seconds = 10", "cluster = { pods = 0 }", "cluster.pods"),
        ("seconds = 10", "cluster = { apart = [3, 2, 0.5] }", "cluster.apart"),
        ("seconds = 10", "cluster = { leaves = [7, 2] }", "cluster.leaves"),
        ('name = "mine"', "name = 3", "name"),
        ('name = "mine"', "", "name"),
        ("workers = 2", "workers = 0", "servers.api.workers"),
        ("workers = 2", "workers = 2.5", "servers.api.workers"),
        ("workers = 2", "workers = true", "servers.api.workers"),
        ("workers = 2", "", "servers.api.workers"),
        ("workers = 2", "workers = 2\nqueue = -1", "servers.api.queue"),
        ("workers = 2", "workers = 2\nspeed = 1", "servers.api.speed"),
        ("workers = 2", 'workers = 2\ndiscipline = "lifo"', "servers.api.discipline"),
        ("workers = 2", "workers = 2\nphases = 1", "servers.api.phases"),
        ("workers = 2", "workers = 2\nphases = [{ start = 1, fail = 2 }]", "servers.api.phases[0].fail"),
        (
            "workers = 2",
            "workers = 2\nphases = [{ start = 1 }, { start = 1 }]",
            "servers.api.phases[1].start",
        ),
        ("workers = 2", "workers = 2\nphases = [{ start = 1, hang = 1 }]", "servers.api.phases[0].hang"),
        ("mean = 0.05", "mean = inf", "servers.api.service.mean"),
        ("mean = 0.05", "mean = nan", "servers.api.service.mean"),
        ("mean = 0.05", 'mean = "fast"', "servers.api.service.mean"),
        ("mean = 0.05", "mean = 0.05, sigma = 1", "servers.api.service.sigma"),
        ('"fixed"', '"magic"', "servers.api.service.law"),
        ('law = "fixed", mean = 0.05', 'law = "mixture", parts = []', "servers.api.service.parts"),
        (
            'law = "fixed", mean = 0.05',
            'law = "mixture", parts = [{ weight = 0, law = "fixed", mean = 1 }]',
            "servers.api.service.parts[0].weight",
        ),
        ('to = "api"', 'to = "home"', "traffic[0].to"),
        ('to = "api"', "to = []", "traffic[0].to"),
        ('to = "api"', 'to = "api"\nmix = { king = 1 }', "traffic[0].mix.king"),
        ('to = "api"', 'to = "api"\nmix = { bulk = 0 }', "traffic[0].mix"),
        ('to = "api"', 'to = "api"\ndeadline = 0', "traffic[0].deadline"),
        ('to = "api"', 'to = "api"\nkeys = -1', "traffic[0].keys"),
        ("rate = 20", "rate = 0", "traffic[0].arrivals.rate"),
        ("rate = 20", "rate = 20, dwell = 1", "traffic[0].arrivals.dwell"),
        ('law = "poisson", rate = 20', 'law = "bursty", rates = [1]', "traffic[0].arrivals.rates"),
        ('law = "poisson", rate = 20', 'law = "every", period = 1', "traffic[0].arrivals.rate"),
        (
            'law = "poisson", rate = 20',
            'law = "every", period = 1, rate = 1, length = 2',
            "traffic[0].arrivals.length",
        ),
        ('law = "poisson", rate = 20', 'law = "profile", points = []', "traffic[0].arrivals.points"),
        (
            'law = "poisson", rate = 20',
            'law = "profile", points = [[1, 1], [0, 1]]',
            "traffic[0].arrivals.points",
        ),
        ("[[traffic]]", '[routes.a]\nserver = "x"\n[[traffic]]', "routes.a.server"),
        ("[[traffic]]", '[routes.a]\nserver = "api"\ncalls = ["z"]\n[[traffic]]', "routes.a.calls"),
        ("[[traffic]]", '[routes.a]\nserver = "api"\ncalls = "a"\n[[traffic]]', "routes.a"),
    ],
)
def test_what_is_unusable_is_named_with_its_place(old: str, new: str, place: str) -> None:
    assert old in PLAIN
    with pytest.raises(ConfigurationError, match=r" must be | = .*: ") as raised:
        describe(PLAIN.replace(old, new, 1))
    assert raised.value.field == place


@pytest.mark.parametrize(
    "text", [HEAD + SERVER, HEAD + TRAFFIC, "servers = {}\ntraffic = []", HEAD + "servers = 1"]
)
def test_servers_and_traffic_must_be_described(text: str) -> None:
    with pytest.raises(ConfigurationError):
        describe(text)


@pytest.mark.parametrize("text", ["[", "a = " + "[" * 100_000])
def test_what_is_no_toml_is_refused_in_a_sentence(text: str) -> None:
    with pytest.raises(AtrionError):
        describe(text)


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(AtrionError, match="cannot be read"):
        load_file(tmp_path / "none.toml")
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(AtrionError, match="UTF-8"):
        load_file(tmp_path / "bytes.toml")


def test_traffic_can_be_scaled_from_outside(tmp_path: Path) -> None:
    text = PLAIN.replace("rate = 20", "rate = 20, scale = 2")
    assert read_text(text, tmp_path, scale=3.0).scenario.traffic[0].arrivals == Poisson(120.0)
    (tmp_path / "mine.toml").write_text(PLAIN, encoding="utf-8")
    assert load_file(tmp_path / "mine.toml", 0.5).scenario.traffic[0].arrivals == Poisson(10.0)
    closed = PLAIN.replace('law = "poisson", rate = 20', 'law = "closed", users = 10')
    assert read_text(closed, tmp_path, scale=2.5).scenario.traffic[0].arrivals == Closed(25)


@pytest.mark.parametrize("line", ["cost = -1.0", 'cost = "tokens"', "cost_sigma = 6.0"])
def test_an_unusable_cost_of_calls_is_refused(line: str) -> None:
    with pytest.raises(ConfigurationError, match="cost"):
        describe(PLAIN + line + "\n")
