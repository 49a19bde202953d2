"""A program in the functional style of v1."""

from atrion import SLO, Telemetry
from atrion.physics import update_physics

PROMISE = SLO(latency=0.2)
checkout_state = None
states = {}


def hear(latency, error_rate, seconds):
    global checkout_state  # noqa: PLW0603  # as such programs are
    telemetry = Telemetry(latency=latency, error_rate=error_rate)
    checkout_state = update_physics(checkout_state, telemetry, seconds, slo=PROMISE)
    return checkout_state.resistance, checkout_state.latency


def hear_of(route, latency, seconds):
    states[route] = update_physics(states.get(route), Telemetry(latency=latency), seconds)
    return states[route].resistance
