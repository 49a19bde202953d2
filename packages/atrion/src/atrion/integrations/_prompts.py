"""Requests of language models: admitted by what is left of the provider's limits, which their answers tell."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from typing import Any, Final, Unpack

from atrion.control.decision import Decision, Reason
from atrion.control.outcome import note_rejection
from atrion.engine import Atrion
from atrion.errors import ConfigurationError, FlowRejected
from atrion.integrations._httpx import carry
from atrion.integrations._llm_costs import estimate, usable, used
from atrion.integrations._llm_headers import reports, wait
from atrion.integrations._outgoing import ClientOptions, Clients, Hold, Sent, holds, until_answered
from atrion.integrations._quotas import Cost, Mark, Quotas
from atrion.physics.voltage import BAND_WIDTH, band, level_at
from atrion.propagation import current

__all__ = ["CostOf", "Models", "Prompt"]

logger: logging.Logger = logging.getLogger("atrion.clients")

CostOf = Callable[[Mapping[str, Any]], Cost | float | None]
"""What a request costs, by its body; None for the estimate."""
BUSY: Final = frozenset({429, 503, 529})
REFUSED: Final = 429
UNTOLD: Final = 1.0
"""Seconds for which a provider is left alone that refuses a request and does not say for how long."""
LEAST_WAIT: Final = 0.05
"""Seconds after which a shed request is tried again at the earliest."""
LEAST_COST: Final = 1e-6
"""Tokens below which a request has no cost: there is nothing to read or write."""
LONGEST_MODEL: Final = 128


class Models(Clients):
    """Decides about the requests of one client of language models: the route is the host and the model.

    Raises:
        ConfigurationError: an option is unusable.
    """

    def __init__(self, atrion: Atrion, cost: CostOf | None, **options: Unpack[ClientOptions]) -> None:
        super().__init__(atrion, **options)
        if cost is not None and not callable(cost):
            raise ConfigurationError("cost", cost, "give a function of the request's body, or None")
        self._cost = cost
        self._complaints: set[str] = set()

    def admit(self, request: Any) -> Prompt | None:
        """Begin a request; None where its host is excluded.

        Raises:
            FlowRejected: it was shed.
        """
        host, port = request.url.host, request.url.port
        if self.excluded(host):
            return None
        body = _body(request)
        model = body.get("model")
        name = None
        if isinstance(model, str) and 0 < len(model) <= LONGEST_MODEL:
            name = f"{self.name_of(host, port)}/{model}"
        route = self.name_of(host, port, name)
        cost = self._cost_of(body)
        now = self.atrion.now()
        quotas = holds(self.atrion).get(route)
        if quotas is not None:
            tier = self.tier_of(current())
            level = level_at(self.atrion.find(route).settings.start) if tier is None else int(tier)
            if isinstance(quotas, Quotas):
                quotas.ask(level, cost, now)
            self._refuse(quotas, route, level, now)
        sent = self.begin(host, port, name=name, cost=cost.total if cost.total >= LEAST_COST else None)
        if sent is None:
            return None
        with until_answered(sent):
            carry(self, request)
        mark = quotas.spend(cost, now) if isinstance(quotas, Quotas) else None
        return Prompt(self, sent, route, cost, now, mark)

    def _refuse(self, hold: Hold, name: str, level: int, now: float) -> None:
        """Shed a call whose whole tier is shed for a limit: a probe of the route would tell nothing, and be refused.

        Raises:
            FlowRejected: it was shed.
        """
        route = self.atrion.find(name)
        hold.press(now)
        if not route.settings.enforce or hold.process.ohms <= 0.0:
            return
        ohms = route.settings.constants.base + hold.process.ohms
        if band(level) + BAND_WIDTH > ohms:
            return
        volts = band(level)
        route.refuse(volts, Reason.SATURATED)
        note_rejection()
        mode, wait = route.mode, max(hold.left(volts, now), LEAST_WAIT)
        raise FlowRejected(Decision(False, route.id, ohms, volts, mode, Reason.SATURATED, wait))

    def quotas(self, route: str) -> Quotas:
        """The limits of a route, from the first answer on that tells of them."""
        found = holds(self.atrion)
        hold = found.get(route)
        if isinstance(hold, Quotas):
            return hold
        now = self.atrion.now()
        made = Quotas(self.atrion.find(route).settings.constants.base, now)
        if hold is not None and hold.until > now:
            made.extend(hold.until - now, now)
        found[route] = made
        return made

    def _cost_of(self, body: Mapping[str, Any]) -> Cost:
        if not body:
            return Cost(0.0, 0.0)
        try:
            cost = None if self._cost is None else self._cost(body)
            if isinstance(cost, Cost) and usable(cost.input) and usable(cost.output):
                return cost
            if cost is not None and not isinstance(cost, Cost) and usable(cost):
                return Cost(float(cost), 0.0)
            if cost is not None:
                self.complain("atrion: cost() gave %r, which is no number of tokens", cost)
        except Exception:
            self.complain("atrion: cost() failed and requests go on with an estimate")
        return estimate(body)

    def complain(self, what: str, *arguments: object) -> None:
        """Log what a request goes on without, once."""
        if what not in self._complaints:
            self._complaints.add(what)
            logger.warning(what, *arguments, exc_info=not arguments)


class Prompt:
    """One request that may pass."""

    def __init__(
        self, models: Models, sent: Sent, route: str, cost: Cost, began: float, mark: Mark | None
    ) -> None:
        self.sent = sent
        self._models = models
        self._route = route
        self._cost = cost
        self._began = began
        self._mark = mark

    def answered(self, status: int, headers: Mapping[str, str]) -> None:
        """The head of the answer came: latency ends here.

        4xx are the caller's fault, and a 429 without a time to wait asks for a second. 429, 503 and 529 raise the
        resistance for the time that they ask for. Other 5xx are failures.
        """
        seconds = None
        try:
            seconds = wait(headers)
            self._learn(status, headers)
        except Exception:
            self._models.complain("atrion: the headers of an answer could not be read")
        self._judge(status, seconds)

    def broke(self, status: int) -> None:
        """The answer, which began as a success, has an error that stands for ``status``."""
        self._judge(status, None)

    def _judge(self, status: int, seconds: float | None) -> None:
        if status == REFUSED:
            self.sent.held(UNTOLD if seconds is None else seconds)
        elif status in BUSY and seconds is not None:
            self.sent.held(seconds)
        else:
            self.sent.answered(status)

    def read(self, tail: bytes) -> None:
        """The answer has been read, whose last bytes tell what it cost."""
        tokens = used(tail, self._cost)
        if tokens is not None:
            self.sent.report(tokens)

    def _learn(self, status: int, headers: Mapping[str, str]) -> None:
        told = reports(headers)
        counted = 200 <= status < 300 or status == REFUSED
        if not (told and counted) and self._mark is None:
            return  # what was asked for may not be a model at all
        quotas = self._models.quotas(self._route)
        if status == REFUSED and self._mark is not None:
            quotas.refund(self._cost)
        mark = self._mark or quotas.mark(self._began)
        quotas.learn(told, mark, 200 <= status < 300, self._models.atrion.now())


def _body(request: Any) -> Mapping[str, Any]:
    """What a request asks for; empty where that is no JSON object."""
    try:
        if "json" not in request.headers.get("content-type", ""):
            return {}
        body = json.loads(request.content)
    except Exception:  # a form, whose content cannot be read before it is sent, or no JSON
        return {}
    return body if isinstance(body, dict) else {}
