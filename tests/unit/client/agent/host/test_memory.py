"""The agent's threads share one arena where malloc has arenas; elsewhere nothing happens."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

SCRIPT = "from llmpt.agent.host.memory import share_one_arena\nprint(share_one_arena(), share_one_arena())"


@pytest.mark.parametrize("libc", ["this one", "another one"])
def test_all_threads_share_one_arena_where_malloc_has_arenas(libc: str) -> None:
    nothing = "import ctypes\nctypes.CDLL = lambda name: object()\n" if libc == "another one" else ""
    ran = subprocess.run([sys.executable, "-c", nothing + SCRIPT], capture_output=True, text=True, timeout=30, check=True)
    expected = libc == "this one" and platform.libc_ver()[0] == "glibc"
    assert ran.stdout.split() == [str(expected)] * 2
