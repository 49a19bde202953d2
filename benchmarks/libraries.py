"""Which libraries are here."""

from benchmarks.guards import Guard
from benchmarks.peers import PEERS

OURS = "atrion"


def peers() -> tuple[list[Guard], list[str]]:
    """The peers that are installed, and the names of those that are not."""
    found: list[Guard] = []
    missing: list[str] = []
    for peer in PEERS:
        try:
            found.append(peer())
        except ImportError:
            missing.append(peer.name)
    return found, missing


def ours() -> Guard:
    """Atrion.

    Raises:
        ImportError: it is not installed in this interpreter.
    """
    from benchmarks.ours import Ours

    return Ours()


def guard_named(name: str) -> Guard:
    """One library by its name.

    Raises:
        ImportError: it is not installed in this interpreter.
        LookupError: there is none of that name.
    """
    if name == OURS:
        return ours()
    for peer in PEERS:
        if peer.name == name:
            return peer()
    raise LookupError(f"no library is called {name!r}")
