"""A program that uses pybreaker."""

import pybreaker

heard = []


class Heard(pybreaker.CircuitBreakerListener):
    def __init__(self):
        self.count = 0

    def state_change(self, cb, old_state, new_state):
        self.count += 1
        heard.append(new_state.name == "open")


# the database
db = pybreaker.CircuitBreaker(fail_max=5, reset_timeout=30, exclude=[ValueError], listeners=[Heard()])


@db
def query(work):
    return work()


def call(work):
    return db.call(lambda task: task(), work)


def guarded(work):
    try:
        return query(work)
    except pybreaker.CircuitBreakerError:
        return "refused"
