"""What a request of a language model costs, as far as its body tells."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, TypeGuard

from atrion.integrations._quotas import Cost

__all__ = ["TAIL", "estimate", "usable", "used"]

CHARACTERS: Final = 4.0
"""Characters of a token of English text."""
MEDIA: Final = 1000.0
"""Tokens of a picture or file, which is sent as base64 or by its address."""
MEDIA_KEYS: Final = frozenset({"data", "url", "image_url", "file_data", "file_id", "file_url"})
LIMITS: Final = ("max_completion_tokens", "max_output_tokens", "max_tokens")
ANSWER: Final = 500.0
"""Tokens of an answer whose length the request does not limit."""
TAIL: Final = 4096
"""Last bytes of an answer, which tell what it used."""
USED: Final = re.compile(rb'"(total|input|prompt|output|completion)_tokens"\s*:\s*(\d{1,9})\b')
DEEPEST: Final = 32
MOST: Final = 1e9


def estimate(body: Mapping[str, Any]) -> Cost:
    """Tokens of a request's prompt, by its length, and of the longest answer that it allows."""
    prompt = _tokens({name: value for name, value in body.items() if name != "model"}, DEEPEST)
    if "input" in body and "messages" not in body and body.get("encoding_format"):
        return Cost(prompt, 0.0)  # an embedding
    answer = next((body[name] for name in LIMITS if usable(body.get(name))), ANSWER)
    answers = body.get("n")
    return Cost(prompt, min(answer * max(answers, 1), MOST) if usable(answers) else answer)


def used(tail: bytes, cost: Cost) -> float | None:
    """Tokens that an answer used, by its last bytes; None if they do not tell. What is not told of the prompt is known.

    A text of the model cannot pretend to tell: within it, quotes are escaped.
    """
    told = {name: float(number) for name, number in USED.findall(tail)}
    total = told.get(b"total")
    if total is None:
        output = told.get(b"output", told.get(b"completion"))
        if output is None:
            return None
        total = told.get(b"input", told.get(b"prompt", cost.input)) + output
    return total if total > 0.0 else None


def usable(tokens: object) -> TypeGuard[float]:
    """Whether a number of tokens makes sense."""
    return isinstance(tokens, (int, float)) and not isinstance(tokens, bool) and 0.0 <= tokens <= MOST


def _tokens(value: object, depth: int) -> float:
    if isinstance(value, str):
        return len(value) / CHARACTERS
    if depth == 0:
        return 0.0
    if isinstance(value, Mapping):
        return sum(
            MEDIA if key in MEDIA_KEYS and isinstance(each, str) else _tokens(each, depth - 1)
            for key, each in value.items()
        )
    if isinstance(value, list):
        return sum(_tokens(each, depth - 1) for each in value)
    return 0.0
