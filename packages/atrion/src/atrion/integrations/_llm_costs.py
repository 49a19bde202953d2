"""What a request of a language model costs, as far as its body tells."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from atrion.integrations._quotas import Cost

__all__ = ["estimate", "usable"]

CHARACTERS: Final = 4.0
"""Characters of a token of English text."""
MEDIA: Final = 1000.0
"""Tokens of a picture or file, which is sent as base64 or by its address."""
MEDIA_KEYS: Final = frozenset({"data", "url", "image_url", "file_data", "file_id", "file_url"})
LIMITS: Final = ("max_completion_tokens", "max_output_tokens", "max_tokens")
ANSWER: Final = 500.0
"""Tokens of an answer whose length the request does not limit."""
DEEPEST: Final = 32
MOST: Final = 1e9


def estimate(body: Mapping[str, Any]) -> Cost:
    """Tokens of a request's prompt, by its length, and of the longest answer that it allows."""
    prompt = _tokens({name: value for name, value in body.items() if name != "model"}, DEEPEST)
    if "input" in body and "messages" not in body and body.get("encoding_format"):
        return Cost(prompt, 0.0)  # an embedding
    answer = next((body[name] for name in LIMITS if body.get(name) is not None), ANSWER)
    answers = body.get("n")
    if isinstance(answers, int) and not isinstance(answers, bool) and answers > 1:
        answer = answer * answers if isinstance(answer, (int, float)) else answer
    return Cost(prompt, answer) if usable(answer) else Cost(prompt, ANSWER)


def usable(tokens: object) -> bool:
    """Whether a number of tokens makes sense."""
    number = isinstance(tokens, (int, float)) and not isinstance(tokens, bool)
    return number and math.isfinite(tokens) and 0.0 <= tokens <= MOST  # type: ignore[arg-type]  # it is a number


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
