"""The table of all integrations, as the documentation has it."""

from __future__ import annotations

from pathlib import Path

from packages.atrion.tests.conformance.django_services import DJANGO
from packages.atrion.tests.conformance.grpc_services import GRPC
from packages.atrion.tests.conformance.http_clients import HTTP_CLIENTS
from packages.atrion.tests.conformance.http_services import HTTP
from packages.atrion.tests.conformance.llm_clients import LLM_CLIENTS
from packages.atrion.tests.conformance.other_clients import OTHER_CLIENTS
from packages.atrion.tests.conformance.queues import QUEUES
from packages.atrion.tests.conformance.subject import COLUMNS, Subject

__all__ = ["KEPT", "SUBJECTS", "kept", "printed"]

KEPT = Path(__file__).parents[4] / "docs/tables/conformance.txt"
SUBJECTS: tuple[Subject, ...] = (*HTTP, *DJANGO, *GRPC, *HTTP_CLIENTS, *LLM_CLIENTS, *OTHER_CLIENTS, *QUEUES)


def printed() -> str:
    """The table that running every check gives."""
    lines = ["| integration | " + " | ".join(COLUMNS.values()) + " |", "|---" * (len(COLUMNS) + 1) + "|"]
    for subject in SUBJECTS:
        cells = [getattr(subject, column)() for column in COLUMNS]
        lines.append("| " + " | ".join([subject.title, *cells]) + " |")
    return "\n".join(lines) + "\n"


def kept() -> dict[str, dict[str, str]]:
    """The table in the documentation: what it says, by integration and column."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in KEPT.read_text().splitlines()]
    return {row[0]: dict(zip(COLUMNS, row[1:], strict=True)) for row in rows[2:]}
