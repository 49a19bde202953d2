from __future__ import annotations

from itertools import islice
from random import Random
from typing import Any

import pytest

from atrion.sensing.telemetry import Outcome
from atrion_lab.arrivals import Every, Instants
from atrion_lab.metrics import Recorder
from atrion_lab.policies.clairvoyant import Clairvoyant
from atrion_lab.policies.port import BasePolicy, Call
from atrion_lab.services import Fixed, Mixture, Phase, Recorded, Server
from atrion_lab.sharing import SharedPool
from atrion_lab.simulator import Gate, Pool, Simulation


class Client:
    """Notes what becomes of its calls."""

    steps = 0

    def __init__(self) -> None:
        self.ends: list[tuple[str, float]] = []

    def rejected(self, call: Call) -> None:
        self.ends.append(("rejected", -1.0))

    def answered(self, call: Call, outcome: Outcome, now: float) -> None:
        self.ends.append((outcome.name, round(now, 6)))


class Bench:
    """One server, one policy, calls of one second."""

    def __init__(self, server: Server, policy: Any = None) -> None:
        self.simulation = Simulation()
        self.recorder = Recorder(100.0)
        self.pool = Pool(self.simulation, server)
        self.gate = Gate(self.simulation, "api", policy or BasePolicy(), self.pool, self.recorder)
        self.client = Client()

    def ask(self, at: float, service: float = 1.0, luck: float = 0.5, deadline: float = 1e9) -> None:
        def send(_: object) -> None:
            self.gate.submit(Call("", 2, None, at, deadline, service, luck=luck, request=self.client))

        self.simulation.at(at, send)


def test_events_of_one_instant_keep_the_order_they_were_planned_in() -> None:
    simulation = Simulation()
    seen: list[str] = []
    for name in "abc":
        simulation.at(1.0, seen.append, name)
    simulation.at(0.5, seen.append, "first")
    simulation.run(2.0)
    assert seen == ["first", "a", "b", "c"]
    assert simulation.now == 2.0


def test_one_worker_serves_in_order_and_the_queue_waits() -> None:
    bench = Bench(Server(workers=1))
    for at in (0.0, 0.1, 0.2):
        bench.ask(at)
    bench.simulation.run(10.0)
    assert bench.client.ends == [("SUCCESS", 1.0), ("SUCCESS", 2.0), ("SUCCESS", 3.0)]


def test_expired_work_is_done_all_the_same() -> None:
    bench = Bench(Server(workers=1))
    bench.ask(0.0, deadline=0.2)
    bench.ask(0.1)
    bench.simulation.run(10.0)
    assert bench.client.ends[-1] == ("SUCCESS", 2.0)


def test_a_full_queue_drops() -> None:
    bench = Bench(Server(workers=1, queue=1))
    for at in (0.0, 0.1, 0.2):
        bench.ask(at)
    bench.simulation.run(10.0)
    assert bench.client.ends[0] == ("DROPPED", 0.2)
    assert bench.pool.busy == 0


def test_a_policy_may_drop_what_waited() -> None:
    class Impatient(BasePolicy):
        def start(self, call: Call, now: float) -> bool:
            return now - call.arrived < 0.5

    bench = Bench(Server(workers=1), Impatient())
    for at in (0.0, 0.1, 0.9):
        bench.ask(at)
    bench.simulation.run(10.0)
    assert bench.client.ends == [("SUCCESS", 1.0), ("DROPPED", 1.0), ("SUCCESS", 2.0)]


def test_rejections_cost_the_share_they_are_said_to() -> None:
    class Deaf(BasePolicy):
        def arrive(self, call: Call, now: float) -> bool:
            return call.service < 5.0

    server = Server(workers=1, reject_cost=0.1)
    bench = Bench(server, Deaf())
    bench.ask(0.0)
    bench.ask(0.1, service=9.0)  # refused while the worker is busy
    bench.ask(0.2)
    bench.simulation.run(10.0)
    assert bench.client.ends[1:] == [
        ("SUCCESS", 1.0),
        ("SUCCESS", pytest.approx(2.0 + 0.1 * server.law.mean)),
    ]


def test_concurrency_beyond_the_workers_slows_a_worsening_server() -> None:
    bench = Bench(Server(workers=1, worsening=0.5))
    for _ in range(3):
        bench.ask(0.0)
    bench.simulation.run(20.0)
    # The first meets nobody; the second begins with one more waiting, the third alone.
    assert [at for _, at in bench.client.ends] == [1.0, 2.5, 3.5]


def test_phases_fail_slow_down_hang_and_take_workers() -> None:
    phases = (
        Phase(start=10.0, fail=0.3, fail_after=0.1),
        Phase(start=20.0, slow=3.0),
        Phase(start=30.0, hang=True),
        Phase(start=40.0, workers=1),
    )
    bench = Bench(Server(workers=2, phases=phases))
    bench.ask(11.0, luck=0.29)
    bench.ask(11.0, luck=0.31)
    bench.ask(21.0)
    bench.ask(31.0, deadline=36.0)
    bench.ask(41.0)
    bench.ask(41.0)
    bench.simulation.run(60.0)
    assert bench.client.ends == [
        ("FAILURE", 11.1),
        ("SUCCESS", 12.0),
        ("SUCCESS", 24.0),
        ("FAILURE", 36.0),
        ("SUCCESS", 42.0),
        ("SUCCESS", 43.0),
    ]


def test_a_nested_call_holds_the_upstream_worker_and_its_end_is_the_upstream_end() -> None:
    bench = Bench(Server(workers=1))
    below = Pool(bench.simulation, Server(workers=1))
    bench.gate.wanted = (Gate(bench.simulation, "below", BasePolicy(), below, Recorder(100.0)),)
    bench.ask(0.0)
    bench.ask(0.5)
    bench.simulation.run(10.0)
    assert bench.client.ends == [("SUCCESS", 2.0), ("SUCCESS", 4.0)]


def test_what_is_shed_downstream_says_nothing_of_upstream() -> None:
    class Closed(BasePolicy):
        def arrive(self, call: Call, now: float) -> bool:
            return False

    bench = Bench(Server(workers=1))
    below = Pool(bench.simulation, Server(workers=1))
    bench.gate.wanted = (Gate(bench.simulation, "below", Closed(), below, Recorder(100.0)),)
    bench.ask(0.0)
    bench.simulation.run(10.0)
    assert bench.client.ends == [("IGNORED", 1.0)]


def test_what_finds_no_place_fails_at_once_where_the_server_says_so() -> None:
    bench = Bench(Server(workers=1, queue=1, fails=True))
    for at in (0.0, 0.1, 0.2):
        bench.ask(at)
    bench.simulation.run(10.0)
    assert bench.client.ends[0] == ("FAILURE", 0.2)


class SharedBench(Bench):
    """The same with workers that share themselves."""

    def __init__(self, server: Server) -> None:
        super().__init__(server)
        self.pool = SharedPool(self.simulation, server)
        self.gate.pool = self.pool


def test_a_shared_worker_divides_itself_among_its_calls() -> None:
    bench = SharedBench(Server(workers=1))
    bench.ask(0.0)
    bench.ask(0.5)
    bench.simulation.run(10.0)
    # Half a second alone and one at half speed; the other then has half a second of work left, alone.
    assert bench.client.ends == [("SUCCESS", 1.5), ("SUCCESS", 2.0)]


def test_shared_workers_serve_as_many_at_full_speed_and_turn_away_what_has_no_place() -> None:
    bench = SharedBench(Server(workers=2, queue=0, fails=True))
    for at in (0.0, 0.1, 0.2):
        bench.ask(at)
    bench.simulation.run(10.0)
    assert bench.client.ends == [("FAILURE", 0.2), ("SUCCESS", 1.0), ("SUCCESS", 1.1)]
    assert bench.pool.busy == 0


def test_a_shared_server_stands_still_fails_and_hangs_in_its_phases() -> None:
    phases = (
        Phase(start=1.0, workers=0),
        Phase(start=2.0),
        Phase(start=10.0, fail=1.0, fail_after=0.25),
        Phase(start=20.0, fail=1.0),
        Phase(start=30.0, hang=True),
    )
    bench = SharedBench(Server(workers=1, phases=phases))
    bench.ask(0.5)
    bench.ask(10.0)
    bench.ask(20.0)
    bench.ask(30.0, deadline=30.5)
    bench.simulation.run(40.0)
    ends = [("SUCCESS", 2.5), ("FAILURE", 10.25), ("FAILURE", 21.0), ("FAILURE", 30.5)]
    assert bench.client.ends == ends


class Tree(Bench):
    """A front whose calls need others of one second, each on a server of its own; ``first`` fails if asked to."""

    def __init__(self, *, first: Phase | None = None) -> None:
        super().__init__(Server(workers=1))
        self.below = [
            Gate(self.simulation, name, BasePolicy(), Pool(self.simulation, server), Recorder(100.0))
            for name, server in (
                ("a", Server(workers=1, phases=(first,) if first else ())),
                ("b", Server(workers=1)),
                ("c", Server(workers=1)),
            )
        ]
        self.ask(0.0)


def test_needs_are_met_one_after_the_other() -> None:
    tree = Tree()
    tree.gate.wanted = tuple(tree.below)
    tree.simulation.run(10.0)
    assert tree.client.ends == [("SUCCESS", 4.0)]


def test_needs_in_a_tuple_are_met_side_by_side() -> None:
    tree = Tree()
    a, b, c = tree.below
    b.draw = lambda luck: 2.0
    tree.gate.wanted = (a, (b, c))
    tree.simulation.run(10.0)
    assert tree.client.ends == [("SUCCESS", 4.0)]


def test_the_first_need_that_fails_ends_a_sequence_but_not_its_siblings() -> None:
    failing = Phase(fail=1.0, fail_after=0.5)
    tree = Tree(first=failing)
    tree.gate.wanted = tuple(tree.below)
    tree.simulation.run(10.0)
    assert tree.client.ends == [("FAILURE", 1.5)]
    tree = Tree(first=failing)
    tree.gate.wanted = (tuple(tree.below),)
    tree.simulation.run(10.0)
    assert tree.client.ends == [("FAILURE", 2.0)]


def test_laws_have_the_mean_they_say() -> None:
    rng = Random(1)
    mixture = Mixture(((0.9, Fixed(0.01)), (0.1, Fixed(0.31))))
    assert mixture.mean == pytest.approx(0.04)
    draw = mixture.sampler(rng)
    assert sum(draw() for _ in range(20_000)) / 20_000 == pytest.approx(0.04, rel=0.05)
    recorded = Recorded((0.1, 0.3))
    draw = recorded.sampler(rng)
    assert [draw() for _ in range(3)] == [0.1, 0.3, 0.1]
    assert recorded.mean == pytest.approx(0.2)


def test_arrivals_come_again_and_again_or_as_recorded() -> None:
    at_once = list(islice(Every(10.0, count=2).times(Random(1)), 5))
    assert at_once == [0.0, 0.0, 10.0, 10.0, 20.0]
    spread = list(islice(Every(10.0, length=1.0, rate=100.0).times(Random(1)), 1000))
    assert all(at % 10.0 < 1.0 for at in spread)
    assert 80.0 <= spread[-1] <= 120.0
    assert list(Instants((0.0, 2.0)).times(Random(1))) == [0.0, 2.0]


def test_a_clairvoyant_admits_what_ends_in_time() -> None:
    phases = (Phase(start=5.0, workers=0), Phase(start=7.0, slow=2.0))
    bench = Bench(Server(workers=1, phases=phases), Clairvoyant())
    bench.ask(0.0, deadline=1.0)
    bench.ask(0.1, deadline=1.9)  # would end at 2
    bench.ask(0.2, deadline=2.0)
    bench.ask(5.5, deadline=8.5)  # stands still until 7, then twice as slow
    bench.ask(5.6, deadline=9.0)
    bench.simulation.run(20.0)
    rejected = ("rejected", -1.0)
    assert bench.client.ends == [rejected, ("SUCCESS", 1.0), ("SUCCESS", 2.0), rejected, ("SUCCESS", 9.0)]
