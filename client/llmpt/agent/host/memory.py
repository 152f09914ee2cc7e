"""How the agent keeps its memory small over weeks.

glibc gives each thread that allocates an arena of its own and hands little of it back; an agent has a thread per request.
With one arena for all, 200 downloads leave it at the size it had after the first ones (measured by `make soak`).
"""

from __future__ import annotations

import ctypes

M_ARENA_MAX = -8  # malloc.h of glibc


def share_one_arena() -> bool:
    """Let all threads that start from now on allocate from the main arena; False where malloc knows no such thing."""
    try:
        return bool(ctypes.CDLL(None).mallopt(M_ARENA_MAX, 1))
    except (AttributeError, OSError):  # musl, macOS
        return False
