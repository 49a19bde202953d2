"""Limits of slowapi stay, for they are quotas; the service itself is guarded by the ASGI middleware beside them."""

from __future__ import annotations

from collections.abc import Callable

import libcst as cst

from atrion._migrate.draft import Draft, Reference, Transaction, UnclearError, code_of

__all__ = ["KNOWN", "rewrite"]

LIMITER = frozenset({"slowapi.Limiter", "slowapi.extension.Limiter"})
ERROR = "slowapi.errors.RateLimitExceeded"
MIDDLEWARE = "AtrionMiddleware"
KNOWN = LIMITER | {ERROR}


def rewrite(draft: Draft, elsewhere: Callable[[str], str | None], prefix: str = "") -> None:
    """Gather the edits of one module."""
    guarded = bool(draft.bound(MIDDLEWARE))
    for reference in draft.references:
        if reference.name in LIMITER and isinstance(draft.parent(reference.node), cst.Call):
            draft.mark(
                reference.node,
                "its limits stay: they are quotas of each client; delete those whose number only protects the service",
            )
        elif reference.name == ERROR and not guarded:
            try:
                edits = _handler(draft, reference)
            except UnclearError as unclear:
                draft.left += 1
                draft.mark(reference.node, str(unclear))
                continue
            if edits is not None:
                guarded = True
                draft.commit(edits)


def _handler(draft: Draft, reference: Reference) -> Transaction | None:
    """``app.add_middleware(…)`` after ``app.add_exception_handler(RateLimitExceeded, …)``; None elsewhere.

    Raises:
        UnclearError: it needs a human.
    """
    arg = draft.parent(reference.node)
    call = draft.parent(arg)
    if not (
        isinstance(call, cst.Call)
        and isinstance(call.func, cst.Attribute)
        and call.func.attr.value == "add_exception_handler"
    ):
        return None
    app, expression = call.func.value, draft.parent(call)
    line = draft.parent(expression)
    if not isinstance(expression, cst.Expr) or not isinstance(line, cst.SimpleStatementLine):
        raise UnclearError(
            "AtrionMiddleware is not added: the handler is not added by a statement of its own"
        )
    if len(line.body) != 1:
        raise UnclearError("AtrionMiddleware is not added: the statement shares its line with another")
    code = f"{code_of(app)}.add_middleware({MIDDLEWARE}, atrion={draft.engine})"
    edits = Transaction(names={"engine", f"atrion.integrations.asgi:{MIDDLEWARE}"})
    edits.replace(line, lambda updated: cst.FlattenSentinel([updated, cst.parse_statement(code)]))
    return edits
