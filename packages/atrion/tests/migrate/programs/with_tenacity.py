"""A program that uses tenacity."""

from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_fixed


@retry(
    stop=stop_after_attempt(3),
    wait=wait_fixed(0.1),  # seconds
    retry=retry_if_exception_type(OSError),
    reraise=True,
)
def query(work):
    return work()


def guarded(work):
    return query(work)
