"""A program that uses circuitbreaker."""

from circuitbreaker import CircuitBreaker, circuit
from circuitbreaker import CircuitBreakerError as Refused

db = CircuitBreaker(failure_threshold=5, recovery_timeout=30, name="db")


@circuit(name="query", failure_threshold=5, recovery_timeout=30)
def query(work):
    return work()


def call(work):
    return db.call(work)


def guarded(work):
    try:
        return query(work)
    except (Refused, KeyError):
        return "refused"
