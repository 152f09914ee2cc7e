"""Programs that see other mounts, or other processes, than we do: Linux's unshare(1), where it may be used."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

_WAYS = (["unshare", "--mount"], ["unshare", "--user", "--map-root-user", "--mount"])


def python_with(setup: str, wrapper: Path, *, processes: bool = False) -> Path:
    """Write a stand-in for this Python at `wrapper`: it runs after the shell commands `setup`, which nobody else notices.

    With `processes` it sees no process but its own, and all of them end with it, as in a container. Skips the test where
    that cannot be had.
    """
    unshare = next((way for way in _WAYS if _works(way)), None)
    if unshare is None:
        pytest.skip("this system lets nobody have mounts of their own")
    if processes:
        unshare = [*unshare, "--pid", "--fork", "--kill-child", "--mount-proc"]
    inner = f'set -e\n{setup}\nexec {shlex.quote(sys.executable)} "$@"'
    wrapper.write_text(f'#!/bin/sh\nexec {shlex.join(unshare)} sh -c {shlex.quote(inner)} sh "$@"\n')
    wrapper.chmod(0o755)
    return wrapper


def _works(way: list[str]) -> bool:
    try:
        return subprocess.run([*way, "true"], capture_output=True, timeout=10, check=False).returncode == 0
    except OSError:
        return False
