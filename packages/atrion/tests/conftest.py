from __future__ import annotations

from hypothesis import settings

# No time limits on a shared machine, and nothing remembered from one checkout's run to the next.
settings.register_profile("atrion", deadline=None, database=None)
settings.load_profile("atrion")
