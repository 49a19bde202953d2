"""Figures without a display, made with matplotlib and written as PNG or SVG."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from atrion.errors import AtrionError, ConfigurationError, MissingExtraError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["check_plot", "new_figure", "save"]

INK = "#24292f"
GRID = "#d0d7de"


def check_plot(path: str | None) -> Path | None:
    """The file a plot goes to, refused before any work is done.

    Raises:
        ConfigurationError: its name ends neither in .png nor in .svg, or its folder does not exist.
        MissingExtraError: matplotlib is not installed.
    """
    if path is None:
        return None
    target = Path(path)
    if target.suffix not in {".png", ".svg"}:
        raise ConfigurationError("--plot", path, "name a file that ends in .png or .svg")
    if not target.parent.is_dir():
        raise ConfigurationError("--plot", path, f"make the folder {target.parent} first")
    try:
        import matplotlib.figure  # noqa: F401  # only whether it is there
    except ImportError as error:
        raise MissingExtraError("--plot", "lab") from error
    return target


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of ``width`` × ``height`` inches.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("--plot", "lab") from error
    matplotlib.rcParams.update(
        {
            "axes.edgecolor": GRID,
            "axes.labelcolor": INK,
            "axes.titlesize": 10,
            "axes.titlecolor": INK,
            "font.size": 9,
            "svg.hashsalt": "atrion",  # the same data gives the same file
            "xtick.color": INK,
            "ytick.color": INK,
        }
    )
    return Figure(figsize=(width, height), layout="constrained")


def save(figure: Figure, target: Path) -> None:
    """Write the figure in the format that the file's name ends in.

    Raises:
        AtrionError: the file cannot be written.
    """
    metadata = {"Date": None} if target.suffix == ".svg" else {}
    try:
        figure.savefig(target, dpi=130, metadata=metadata)
    except OSError as error:
        raise AtrionError(f"the plot {target} cannot be written: {error}") from error
