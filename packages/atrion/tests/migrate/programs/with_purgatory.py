"""A program that uses purgatory."""

from purgatory import SyncCircuitBreakerFactory
from purgatory.domain.model import OpenedState

# one for all
factory = SyncCircuitBreakerFactory(default_threshold=5, default_ttl=30, exclude=[ValueError])


@factory("db")
def query(work):
    return work()


def call(work):
    @factory("other")
    def run():
        return work()

    return run()


def guarded(work):
    try:
        return query(work)
    except OpenedState:
        return "refused"
