"""``atrion lab run`` and ``atrion lab cluster``: a scenario, a recording or a scenario file."""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from atrion.cli.parser import examples
from atrion.cli.progress import progress
from atrion.errors import ConfigurationError
from atrion.physics.config import check_number
from atrion_lab.commands import recording
from atrion_lab.commands.described import run_described, show
from atrion_lab.commands.recording import positive
from atrion_lab.figure import check_plot

if TYPE_CHECKING:
    from atrion_lab.scenario import Scenario

__all__ = ["add_parsers", "seed"]


def seed(text: str) -> int:
    """A seed from the command line.

    Raises:
        argparse.ArgumentTypeError: it is no whole number of at least 0.
    """
    if not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is no seed: give a whole number of at least 0")
    return int(text)


NOTE = """\
A CSV file has the columns timestamp in seconds or ISO 8601, latency or service in seconds, error 0 or 1, and tier.
A scenario file that expects bounds exits with 1 when one is missed."""


def _common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--controller", default="atrion", help="the controller (default atrion)")
    parser.add_argument("--seed", type=seed, default=1, help="seed of all random numbers (default 1)")
    parser.add_argument("--json", action="store_true", help="print JSON, one object per line")
    parser.add_argument(
        "--plot", metavar="FILE", help="plot traffic, resistance and modes into a .png or .svg file"
    )


def add_parsers(actions: Any) -> None:
    """Declare the commands."""
    play = actions.add_parser(
        "run",
        help="run a scenario, a TOML file that describes one, or a CSV file of recorded calls",
        epilog=examples(
            "atrion lab run steady-4x",
            "atrion lab run calls.csv --plot calls.svg",
            "atrion lab run calls.csv --workers 16 --deadline 2 --controller atrion,none",
            "atrion lab run service.toml --controller atrion,none --seeds 5 --json",
        )
        + "\n\n"
        + NOTE,
    )
    play.add_argument(
        "scenario", help="a name from `atrion lab list`, steady-<factor>x, or a .toml or .csv file"
    )
    _common(play)
    play.add_argument(
        "--seeds",
        type=int,
        help="number of seeds, from --seed on, 1 to 1000 (default 1); prints measures instead of one run",
    )
    play.add_argument(
        "--scale",
        type=positive,
        default=1.0,
        help="factor for the traffic of a .toml or .csv file (default 1)",
    )
    recording.add_arguments(play)
    play.set_defaults(run=run)
    cluster = actions.add_parser(
        "cluster",
        help="run a scenario of many pods with one store",
        epilog=examples("atrion lab cluster", "atrion lab cluster --pods 20 --loss 0.3 --delay 0.05"),
    )
    cluster.add_argument("scenario", nargs="?", default="cluster-outage", help="(default cluster-outage)")
    cluster.add_argument("--pods", type=int, help="number of pods, 2 to 500")
    cluster.add_argument("--delay", type=float, help="seconds that a message takes, 0 to 10")
    cluster.add_argument("--loss", type=float, help="share of messages lost, 0 to 1")
    _common(cluster)
    cluster.set_defaults(run=run_cluster)


def run(arguments: argparse.Namespace) -> int:
    """Run a scenario or a recording.

    Raises:
        ConfigurationError: an unknown scenario or controller, or an unusable plot file.
        BadTelemetry: a recording that cannot be read.
        MissingExtraError: matplotlib, for a plot, is not installed.
    """
    from atrion_lab.policies.catalog import controller
    from atrion_lab.scenario import simulate
    from atrion_lab.scenario_file import Described, load_file
    from atrion_lab.scenarios import DESCRIBED, described, scenario
    from atrion_lab.summary import summary

    check_plot(arguments.plot)
    name = arguments.scenario
    if name.lower().endswith(".csv"):
        return recording.run(arguments)
    recording.refuse(arguments)
    if name.lower().endswith(".toml"):
        return run_described(load_file(Path(name), arguments.scale), arguments)
    if name in DESCRIBED:
        return run_described(described(name, arguments.scale), arguments)
    if arguments.scale != 1.0:
        raise ConfigurationError("--scale", arguments.scale, "use it with a scenario file or a recording")
    if arguments.seeds is not None or "," in arguments.controller:
        return run_described(Described(scenario(name)), arguments)
    policy = controller(arguments.controller)
    chosen = scenario(name)
    began = time.perf_counter()
    played = simulate(chosen, policy, arguments.seed, progress("playing"))
    took = time.perf_counter() - began
    asked = played.count("attempts", 0.0, played.seconds)
    # Not in the result, which is the same on every machine.
    print(f"{asked:,} requests in {took:.1f} s, {asked / took * 60e-6:.1f} million a minute", file=sys.stderr)
    return show(played, summary(played, *chosen.window), arguments, chosen.about)


def _changed(arguments: argparse.Namespace) -> Scenario:
    from atrion_lab.scenarios import scenario

    chosen = scenario(arguments.scenario)
    cluster = chosen.cluster
    if cluster is None:
        raise ConfigurationError("scenario", chosen.name, "use one with pods, such as cluster-outage")
    for name, low, high in (("pods", 2, 500), ("delay", 0.0, 10.0), ("loss", 0.0, 1.0)):
        value = getattr(arguments, name)
        if value is not None:
            check_number(f"--{name}", value, low, high)
            cluster = replace(cluster, **{name: value})
    return replace(chosen, cluster=cluster)


def run_cluster(arguments: argparse.Namespace) -> int:
    """Run a scenario of many pods.

    Raises:
        ConfigurationError: no such scenario, or an unusable number or plot file.
        MissingExtraError: matplotlib, for a plot, is not installed.
    """
    from atrion_lab.measures import MEASURES
    from atrion_lab.policies.catalog import controller
    from atrion_lab.scenario import simulate
    from atrion_lab.summary import summary

    check_plot(arguments.plot)
    chosen = _changed(arguments)
    assert chosen.cluster is not None
    played = simulate(chosen, controller(arguments.controller), arguments.seed, progress("playing"))
    numbers = summary(played, *chosen.window)
    numbers["pods"] = chosen.cluster.pods
    if chosen.cluster.active is not None:
        numbers["pulses_until_others_follow"] = MEASURES["pulses until others follow"](chosen, played)
    show(played, numbers, arguments, chosen.about)
    if not arguments.json and chosen.cluster.active is not None:
        print(f"  pulses until others follow{numbers['pulses_until_others_follow']:7.1f}")
    return 0
