from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from atrion.cli import main
from atrion.errors import AtrionError, ConfigurationError
from atrion.physics.config import SLO
from atrion_lab.arrivals import Closed, Instants, Poisson
from atrion_lab.expectations import keeps, mean, rows, worst
from atrion_lab.policies.catalog import controller
from atrion_lab.replay import BadTelemetry
from atrion_lab.scenario_file import Described, load_file, read_text
from atrion_lab.scenarios import DESCRIBED, SCENARIOS, described
from atrion_lab.services import Mixture, Recorded

SERVER = """
[servers.api]
workers = 2
service = { law = "fixed", mean = 0.05 }
"""
TRAFFIC = """
[[traffic]]
to = "api"
arrivals = { law = "poisson", rate = 20 }
"""
HEAD = 'name = "mine"\nseconds = 10\n'
PLAIN = HEAD + SERVER + TRAFFIC


def describe(text: str, folder: Path = Path()) -> Described:
    return read_text(text, folder)


def measured(text: str, name: str = "none", folder: Path = Path()) -> dict[str, Any]:
    found = describe(text, folder)
    ((_, _, row),) = rows(found.scenario, [controller(name)], [1], found.well)
    return row


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


TRACED = PLAIN.replace(
    'law = "fixed", mean = 0.05', 'law = "trace", file = "calls.csv", column = "took"'
).replace('law = "poisson", rate = 20', 'law = "trace", file = "calls.csv", column = "at", scale = 2')


def test_recorded_calls_come_when_they_did_and_take_what_they_took(tmp_path: Path) -> None:
    (tmp_path / "calls.csv").write_text(
        "at,took\n2023-11-16 18:15:46.6805900,0.5\n2023-11-16 18:15:48.6805900,0.25\n", encoding="utf-8"
    )
    (tmp_path / "mine.toml").write_text(TRACED, encoding="utf-8")
    scenario = load_file(tmp_path / "mine.toml").scenario
    arrivals, law = scenario.traffic[0].arrivals, scenario.servers["api"].law
    assert isinstance(arrivals, Instants)
    assert arrivals.at == pytest.approx((0.0, 1.0))
    assert law == Recorded((0.5, 0.25))


TOKENS = PLAIN.replace(
    'law = "fixed", mean = 0.05',
    'law = "trace", file = "calls.csv", columns = { read = 0.0001, written = 0.03 }',
)


def test_work_may_be_counted_in_units_of_several_columns(tmp_path: Path) -> None:
    (tmp_path / "calls.csv").write_text("read,written\n1000,10\n200,0\n", encoding="utf-8")
    law = describe(TOKENS, tmp_path).scenario.servers["api"].law
    assert isinstance(law, Recorded)
    assert law.times == pytest.approx((0.4, 0.02))
    (tmp_path / "calls.csv").write_text("read,written\n1000,10\n0,0\n", encoding="utf-8")
    with pytest.raises(BadTelemetry, match="line 3, column read, written"):
        describe(TOKENS, tmp_path)
    with pytest.raises(ConfigurationError, match="not both"):
        describe(TOKENS.replace("columns", 'column = "read", columns'), tmp_path)
    with pytest.raises(ConfigurationError, match="seconds a unit"):
        describe(TOKENS.replace("{ read = 0.0001, written = 0.03 }", "{ read = 0 }"), tmp_path)


def test_traffic_can_be_scaled_from_outside(tmp_path: Path) -> None:
    text = PLAIN.replace("rate = 20", "rate = 20, scale = 2")
    assert read_text(text, tmp_path, scale=3.0).scenario.traffic[0].arrivals == Poisson(120.0)
    (tmp_path / "mine.toml").write_text(PLAIN, encoding="utf-8")
    assert load_file(tmp_path / "mine.toml", 0.5).scenario.traffic[0].arrivals == Poisson(10.0)
    closed = PLAIN.replace('law = "poisson", rate = 20', 'law = "closed", users = 10')
    assert read_text(closed, tmp_path, scale=2.5).scenario.traffic[0].arrivals == Closed(25)


def test_only_files_are_scaled(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lab", "run", "steady-2x", "--scale", "2"]) == 2
    assert "--scale" in capsys.readouterr().err
    path = tmp_path / "mine.toml"
    path.write_text(PLAIN, encoding="utf-8")
    assert main(["lab", "run", str(path), "--scale", "2", "--json"]) == 0
    twice = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert main(["lab", "run", str(path), "--json"]) == 0
    once = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert twice["goodput_ratio"] == pytest.approx(2.0 * once["goodput_ratio"], rel=0.3)


@pytest.mark.parametrize("name", ["azure-conv", "azure-code"])
def test_the_example_of_recorded_traffic_reads_what_it_names(tmp_path: Path, name: str) -> None:
    text = (Path(__file__).parents[3] / f"examples/traces/{name}.toml").read_text(encoding="utf-8")
    recording = tmp_path / f"AzureLLMInferenceTrace_{name[-4:]}.csv"
    recording.write_text(
        "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.6805900,374,44\n"
        "2023-11-16 18:15:50.9951690,396,109\n",
        encoding="utf-8",
    )
    scenario = read_text(text, tmp_path).scenario
    assert scenario.servers["api"].law.mean == pytest.approx((0.0374 + 1.32 + 0.0396 + 3.27) / 2)
    assert scenario.slo is None


@pytest.mark.parametrize(
    "content",
    ["", "at,took\n", "at\n1\n", "at,took\nsoon,1\n", "at,took\n1,0\n", "at,took\n1,nan\n", "at,took\n1\n"],
)
def test_recordings_that_cannot_be_used_are_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "calls.csv").write_text(content, encoding="utf-8")
    with pytest.raises(AtrionError, match=r"calls\.csv"):
        describe(TRACED, tmp_path)


def test_in_calm_all_is_answered_by_everybody() -> None:
    row = measured(PLAIN)
    assert row["good_over_possible"] == row["work_over_possible"] == row["critical_success"] == 1.0
    assert row["idle_rejects"] == row["late_share"] == row["break_transitions"] == 0
    assert row["goodput_ratio"] == pytest.approx(0.5, abs=0.1)
    assert row["p50_seconds"] >= 0.05
    assert row["p99_over_deadline"] == pytest.approx(row["p99_seconds"] / 0.5)
    assert set(row["success"]) == {"bulk", "low", "normal", "high", "critical"}


def test_in_overload_the_clairvoyant_is_what_others_are_measured_by() -> None:
    crowd = PLAIN.replace("rate = 20", "rate = 200")
    assert measured(crowd)["good_over_possible"] < 0.2
    assert measured(crowd)["late_share"] > 0.8
    possible = measured(crowd, "possible")
    assert possible["good_over_possible"] == 1.0
    assert possible["late_share"] == 0.0
    assert possible["goodput_ratio"] > 0.95


def test_a_refusal_beside_a_free_worker_is_idle() -> None:
    broken = "[[servers.api.phases]]\nstart = 0\nfail = {}\n".format
    # It opens after half of a hundred calls failed, and stays open although the server is well again.
    text = HEAD + SERVER + broken(1.0) + "[[servers.api.phases]]\nstart = 6\nfail = 0.0\n" + TRAFFIC
    row = measured(text, "breaker")
    assert 0.2 < row["idle_rejects"] < 0.5
    assert measured(HEAD + SERVER + broken(1.0) + TRAFFIC, "breaker")["idle_rejects"] == 0.0


def test_routes_that_are_well_are_measured_alone() -> None:
    text = HEAD + SERVER + SERVER.replace("api", "other") + TRAFFIC.replace("20", "400")
    text += TRAFFIC.replace("api", "other") + '[report]\nwell = ["other"]\n'
    row = measured(text)
    assert row["well_over_possible"] == 1.0
    assert row["good_over_possible"] < 0.5


def test_calls_of_others_take_what_their_own_server_says() -> None:
    below = SERVER.replace("api", "db").replace("0.05", "0.2").replace("= 2", "= 50")
    route = '[routes.front]\nserver = "api"\ncalls = [["db", "db"]]\n'
    row = measured(HEAD + SERVER + below + route + TRAFFIC.replace("api", "front").replace("20", "1"))
    assert row["p50_seconds"] == pytest.approx(0.25)


def test_means_and_worst_over_seeds() -> None:
    found = [{"late_share": 0.1, "success": {"bulk": 1.0}}, {"late_share": 0.3, "success": {"bulk": 0.5}}]
    assert mean(found) == {"late_share": pytest.approx(0.2), "success": {"bulk": 0.75}}
    assert worst(found) == {"late_share": 0.3, "success": {"bulk": 0.5}}
    assert keeps(mean(found), {"late_share": 0.1, "success.bulk": 0.7, "success.high": 0.9}) == {
        "late_share": False,
        "success.bulk": True,
        "success.high": True,
    }


def test_rows_for_programs_and_an_exit_status(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "mine.toml"
    target.write_text("expect = { critical_success = 0.9 }\n" + PLAIN, encoding="utf-8")
    command = ["lab", "run", str(target), "--controller", "none,possible", "--seeds", "2"]
    assert main([*command, "--json"]) == 0
    printed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(row["controller"], row["seed"]) for row in printed] == [
        ("none", 1),
        ("possible", 1),
        ("none", 2),
        ("possible", 2),
        ("none", "mean"),
        ("possible", "mean"),
    ]
    assert printed[-1]["met"] is True
    assert printed[-1]["worst"]["good_over_possible"] == 1.0
    assert "met" not in printed[0]
    target.write_text("expect = { late_share = 0.1 }\n" + PLAIN.replace("20", "200"), encoding="utf-8")
    assert main(command) == 1
    shown = capsys.readouterr().out
    assert "✗ none" in shown
    assert "✓ possible" in shown
    assert "worst" in shown


def test_a_file_that_comes_along_is_played_and_drawn_by_its_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "run.svg"
    assert main(["lab", "run", "cold-wide-128", "--controller", "none", "--plot", str(target)]) == 0
    assert target.stat().st_size > 5000
    assert "✓ none" in capsys.readouterr().out


def test_a_built_in_scenario_is_measured_over_seeds(capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        main(["lab", "run", "cold-start-in-overload", "--seeds", "2", "--controller", "none", "--json"]) == 0
    )
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert last["seed"] == "mean"
    assert "met" not in last


def test_a_recording_has_no_seeds(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lab", "run", "calls.csv", "--seeds", "2"]) == 2
    assert "--seeds = 2: leave it out" in capsys.readouterr().err


def test_pods_are_measured_together() -> None:
    pods = PLAIN.replace("rate = 20", "rate = 40") + "[cluster]\npods = 2\nshared = false\n"
    row = measured(pods, "atrion")
    assert row["critical_success"] > 0.95
    assert row["goodput_ratio"] == pytest.approx(0.5, abs=0.1)


def test_a_request_is_answered_when_one_of_its_attempts_is() -> None:
    failing = "[[servers.api.phases]]\nstart = 0\nfail = 1.0\n[[servers.api.phases]]\nstart = 5\nfail = 0.0\n"
    calm = TRAFFIC.replace("20", "4")
    once = measured(HEAD + SERVER + failing + calm)
    again = measured(HEAD + "window = [0, 9]\n" + SERVER + failing + calm + "retries = 20\nbackoff = 0.5\n")
    assert once["good_over_possible"] == 1.0  # nobody can answer what fails
    assert once["success"]["bulk"] < 0.7
    assert again["success"]["bulk"] > 0.95


def test_a_shared_server_is_possible_as_a_queue() -> None:
    crowd = PLAIN.replace("rate = 20", "rate = 200").replace(
        "workers = 2", 'workers = 2\ndiscipline = "shared"'
    )
    assert measured(crowd)["good_over_possible"] < 0.2
    assert measured(crowd, "possible")["goodput_ratio"] > 0.95


def test_calls_tell_the_engine_what_they_cost() -> None:
    mixed = HEAD + SERVER.replace('law = "fixed", mean = 0.05', 'law = "bimodal", mean = 0.05') + TRAFFIC
    busy = mixed.replace("rate = 20", "rate = 120")
    # Without a cost there is nothing to leave out; with one, the engine decides otherwise.
    assert measured(busy, "atrion") == measured(busy, "atrion-no-cost")
    costly = busy + "cost = 4000.0\n"
    assert measured(costly, "atrion-no-cost") == measured(busy, "atrion")
    assert measured(costly, "atrion") != measured(busy, "atrion")
    assert measured(costly + "cost_sigma = 1.0\n", "atrion") != measured(costly, "atrion")


@pytest.mark.parametrize("line", ["cost = -1.0", 'cost = "tokens"', "cost_sigma = 6.0"])
def test_an_unusable_cost_of_calls_is_refused(line: str) -> None:
    with pytest.raises(ConfigurationError, match="cost"):
        describe(PLAIN + line + "\n")
