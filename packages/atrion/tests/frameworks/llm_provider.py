"""A provider of models with rate limits, on virtual time, and traffic of a guarded client on it."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import anthropic as anthropic_errors
import httpx2
import openai as openai_errors
from anthropic import Anthropic
from openai import OpenAI

from atrion import Atrion, FlowRejected
from atrion.integrations.llm import guard
from atrion.propagation import use
from atrion.testing import VirtualClock

TIERS = ("critical", "high", "normal", "low", "bulk")
START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


Headers = dict[str, str]


@dataclass
class Limit:
    """A rate limit: a bucket that fills continuously, or a count that starts anew each period."""

    size: float
    period: float = 60.0
    fills: bool = True
    left: float = field(init=False)
    at: float = 0.0

    def __post_init__(self) -> None:
        self.left = self.size

    def advance(self, now: float) -> None:
        if self.fills:
            self.left = min(self.left + (now - self.at) * self.size / self.period, self.size)
        elif now // self.period > self.at // self.period:
            self.left = self.size
        self.at = now

    def reset(self, now: float) -> float:
        if self.fills:
            return (self.size - self.left) * self.period / self.size
        return self.period - now % self.period


class Provider(httpx2.BaseTransport):
    """Answers as a provider does, by its rate limits and the time that a clock tells."""

    def __init__(
        self, clock: VirtualClock, requests: Limit, tokens: Limit, headers: Callable[..., Headers]
    ) -> None:
        self.clock = clock
        self.requests = requests
        self.tokens = tokens
        self._headers = headers
        self._began = clock.monotonic()

    def now(self) -> float:
        return self.clock.monotonic() - self._began

    def take(self, tokens: float) -> bool:
        """Whether a request still fits."""
        now = self.now()
        for limit in (self.requests, self.tokens):
            limit.advance(now)
        if self.requests.left < 1.0 or self.tokens.left < tokens:
            return False
        self.requests.left -= 1.0
        self.tokens.left -= tokens
        return True

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        body = json.loads(request.read())
        fits = self.take(body["max_tokens"] + len(body["messages"][0]["content"]) / 4)
        headers = self._headers(self, self.now())
        if not fits:
            return httpx2.Response(429, json={"error": {"message": "rate limit"}}, headers=headers)
        answer = {
            "id": "1",
            "type": "message",
            "role": "assistant",
            "model": "m",
            "content": [],
            "choices": [],
        }
        return httpx2.Response(200, json=answer, headers=headers)


def go(seconds: float) -> str:
    """As Go prints a duration, and OpenAI sends it."""
    if seconds < 1.0:
        return f"{int(seconds * 1000)}ms"
    minutes, rest = divmod(seconds, 60.0)
    return f"{int(minutes)}m{rest:g}s" if minutes else f"{rest:.3f}s"


def openai(provider: Provider, now: float) -> Headers:
    return {
        f"x-ratelimit-{what}-{name}": text
        for name, limit in (("requests", provider.requests), ("tokens", provider.tokens))
        for what, text in (
            ("limit", f"{limit.size:.0f}"),
            ("remaining", f"{int(limit.left)}"),
            ("reset", go(limit.reset(now))),
        )
    }


def azure(provider: Provider, now: float) -> Headers:
    return {
        "x-ratelimit-remaining-requests": f"{int(provider.requests.left)}",
        "x-ratelimit-remaining-tokens": f"{int(provider.tokens.left)}",
    }


def anthropic(skew: float) -> Callable[[Provider, float], Headers]:
    """By a clock that is wrong by so many seconds."""

    def headers(provider: Provider, now: float) -> Headers:
        date = START + timedelta(seconds=now + skew)
        told = {"date": format_datetime(date, usegmt=True)}
        for name, limit, unit in (("requests", provider.requests, 1.0), ("tokens", provider.tokens, 1000.0)):
            whole = date + timedelta(seconds=limit.reset(now))
            told[f"anthropic-ratelimit-{name}-limit"] = f"{limit.size:.0f}"
            told[f"anthropic-ratelimit-{name}-remaining"] = (
                f"{(int(limit.left) if unit == 1.0 else round(limit.left / unit) * unit):.0f}"
            )
            told[f"anthropic-ratelimit-{name}-reset"] = whole.strftime("%Y-%m-%dT%H:%M:%SZ")
        return told

    return headers


class Run:
    """Traffic of all tiers on one model, by a guarded client, counted by tier and outcome after a minute."""

    def __init__(
        self,
        headers: Callable[..., Headers] = openai,
        *,
        requests: float = 1e6,
        tokens: float = 1e9,
        fills: bool = True,
        vendor: str = "openai",
        **limit: Any,
    ) -> None:
        self.clock = VirtualClock()
        self.provider = Provider(
            self.clock, Limit(requests, fills=fills, **limit), Limit(tokens, fills=fills, **limit), headers
        )
        self.engine = Atrion(clock=self.clock)
        http = {"transport": self.provider}
        rng = self.rng = random.Random(7)
        messages: Any = [{"role": "user", "content": "x" * 400}]
        if vendor == "openai":
            client = guard(OpenAI(api_key="k", max_retries=0), self.engine, http=http)
            self.ask: Callable[[], object] = lambda: client.chat.completions.create(
                model="m", messages=messages, max_tokens=rng.randint(20, 180)
            )
        else:
            other = guard(Anthropic(api_key="k", max_retries=0), self.engine, http=http)
            self.ask = lambda: other.messages.create(
                model="m", messages=messages, max_tokens=rng.randint(20, 180)
            )

    def send(self, tier: str) -> str:
        try:
            with use(tier=tier):  # type: ignore[arg-type]  # the names of tiers
                self.ask()
        except FlowRejected:
            return "shed"
        except (openai_errors.RateLimitError, anthropic_errors.RateLimitError):
            return "refused"
        return "served"

    def play(
        self, rates: dict[str, float], seconds: float, meanwhile: Callable[[], object] = lambda: None
    ) -> Counter[tuple[str, str]]:
        """Calls a second by tier, for some time, at random."""
        counts: Counter[tuple[str, str]] = Counter()
        total = sum(rates.values())
        until = self.clock.monotonic() + seconds
        while True:
            self.clock.advance(self.rng.expovariate(total))
            if self.clock.monotonic() >= until:
                return counts
            meanwhile()
            tier = self.rng.choices(list(rates), list(rates.values()))[0]
            counts[tier, self.send(tier)] += 1


def mixed(total: float) -> dict[str, float]:
    """Calls a second by tier: a tenth of them critical."""
    return dict(zip(TIERS, (0.1 * total, 0.2 * total, 0.4 * total, 0.2 * total, 0.1 * total), strict=True))


def share(counts: Counter[tuple[str, str]], tier: str, result: str = "served") -> float:
    return counts[tier, result] / sum(count for (each, _), count in counts.items() if each == tier)
