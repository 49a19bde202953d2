"""``atrion lab map``: the stability map of λ, μ and σ."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from atrion.cli.parser import examples
from atrion.cli.progress import progress
from atrion.errors import MissingExtraError
from atrion_lab.figure import check_plot

if TYPE_CHECKING:
    from atrion_lab.stability import StabilityMap

__all__ = ["add_parser"]

SYMBOLS = {"decay_rate": "λ (1/s)", "damping": "μ (Ω·s)", "scar_factor": "σ (Ω)"}


def add_parser(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "map",
        help="map of λ, μ and σ: which settings are stable, oscillating, deadlocked or chaotic",
        description="Simulates 20 × 20 × 20 settings of λ, μ and σ for 1,000 ticks with an overload and an outage.",
        epilog=examples("atrion lab map", "atrion lab map --preset reference --plot map.svg"),
    )
    parser.add_argument(
        "--preset",
        choices=("shipped", "reference"),
        default="shipped",
        help="the other constants: the engine's defaults, or those of the RFC (default shipped)",
    )
    parser.add_argument("--seed", type=int, default=1, help="seed of the load's noise (default 1)")
    parser.add_argument("--json", action="store_true", help="print the whole map as one JSON object")
    parser.add_argument("--plot", metavar="FILE", help="write heat maps to a .png or .svg file")
    parser.set_defaults(run=run)


def text(result: StabilityMap) -> str:
    """The result as text."""
    from atrion_lab.stability import CLASSES, PRESETS

    settings = result.classes.size
    lines = [f"{settings} settings of λ, μ and σ; the other constants are {result.preset}"]
    lines += [f"  {name:<12}{share:7.1%}" for name, share in result.shares().items()]
    config = PRESETS[result.preset]()
    at = result.nearest(config)
    near = f"λ {config.decay_rate:g}, μ {config.damping:g}, σ {config.scar_factor:g}"
    lines += [
        f"next to the preset ({near}): {CLASSES[int(result.classes[at])]}",
        f"  goodput / capacity at 4×   {result.goodput[at]:6.3f}",
        f"  R swings by (std)          {result.swing[at]:6.1f} Ω, {result.reversals[at]:.2f} reversals/s",
        f"  stuck when calm            {result.stuck[at]:6.1%}",
        f"  outage's calls wasted      {result.waste[at]:6.1%}",
        f"  full service after it      {result.comeback[at]:6.1f} s",
    ]
    if result.region is None:
        lines.append(
            "recommended: none of these settings is stable, serves, spares a dead dependency and comes back"
        )
    else:
        lines.append(
            f"recommended: {result.region.good} settings; the largest box holds {result.region.settings} of them"
        )
        lines += [
            f"  {SYMBOLS[name]:<10}{low:9.3g} … {high:.3g}"
            for name, (low, high) in result.region.bounds.items()
        ]
        own = {name: getattr(config, name) for name in result.axes}
        lines.append(f"  the preset lies {'inside' if result.region.holds(**own) else 'outside'}")
    lines.append(f"the engine's own trajectories differ by {result.engine_difference:.1e} (27 settings)")
    return "\n".join(lines)


def run(arguments: argparse.Namespace) -> int:
    """Compute, print and plot the map.

    Raises:
        ConfigurationError: an unusable plot file.
        MissingExtraError: NumPy, or matplotlib for a plot, is not installed.
    """
    target = check_plot(arguments.plot)
    try:
        from atrion_lab.stability import stability_map
    except ImportError as error:
        raise MissingExtraError("atrion lab map", "lab") from error
    result = stability_map(arguments.preset, seed=arguments.seed, progress=progress("mapping"))
    if target is not None:
        from atrion_lab.stability_plot import plot

        plot(result, target)
    print(json.dumps(result.to_dict()) if arguments.json else text(result))
    return 0
