"""Settings of hypothesis for the tests of every distribution."""

from __future__ import annotations

from hypothesis import settings

# No time limits on a shared machine, nothing remembered from one checkout's run to the next, and the same examples
# each time: a change is judged by what it changes. `pytest --hypothesis-profile=search` looks for new ones.
settings.register_profile("atrion", deadline=None, database=None, derandomize=True)
settings.register_profile("search", deadline=None, database=None, max_examples=1000, print_blob=True)
settings.load_profile("atrion")
