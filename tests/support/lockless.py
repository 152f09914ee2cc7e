"""A folder on which locks are refused, or granted to all, for the processes that are told so."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

GRANTED = 0
SOURCE = Path(__file__).with_name("lockless.c")


def lockless(folder: Path, error: int, *, library: Path) -> dict[str, str]:
    """Return what the environment of a process says to it: below `folder` flock(2) fails with `error`, or is `GRANTED` to all.

    The shim is made as `library`, unless it is there.
    """
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler")
    if not library.exists():
        subprocess.run([compiler, "-shared", "-fPIC", "-o", library, SOURCE], check=True)
    return {"LD_PRELOAD": str(library), "LOCKLESS_BELOW": str(folder), "LOCKLESS_ERRNO": str(error)}
