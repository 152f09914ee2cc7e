"""When a way to a blob is too slow to be waited for: by the agent at its peers, by the hook at a seeder's HTTP."""

from __future__ import annotations

WINDOW_S = 10.0  # rates are compared over such windows
TIMES_SLOWER = 8.0  # below this fraction of the ordinary path's rate the LAN is too slow; the Internet is the dearer way
LONG_S = 180.0  # where that rate is not known: longer than this is not waited for blindly
