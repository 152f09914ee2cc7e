"""The Python that an agent is started with: this program's own, unless the program only pretends to be one."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from llmpt.core.files import real_path


def is_frozen() -> bool:
    """Whether this program was packed together with its Python (PyInstaller and the like): to run that is to run the program."""
    return (
        bool(getattr(sys, "frozen", False))
        or hasattr(sys, "_MEIPASS")
        or "__compiled__" in vars(sys.modules.get("__main__", sys))
    )


def own() -> str | None:
    """Return an interpreter that imports what this one does; None when there is none: a frozen or an embedding program."""
    if is_frozen():
        return None
    named = Path(sys.executable or "/")
    if _is_python(named) and (sys.prefix == sys.base_prefix or _is_in(named, sys.prefix)):
        return str(named)
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    for name in (f"python{version}", "python3", "python"):  # of the environment, where the program is uWSGI, or the like
        found = Path(sys.prefix) / "bin" / name
        if os.access(found, os.X_OK):
            return str(found)
    return str(named) if _is_python(named) else None


def llmpt_elsewhere(environ: Mapping[str, str]) -> str | None:
    """Return the command `llmpt` of another environment than this program's, the first of PATH; None when there is none."""
    ours = set() if is_frozen() else {real_path(Path(python).parent) for python in (own(), sys.executable) if python}
    folders = (environ.get("PATH") or os.defpath).split(os.pathsep)  # in an active environment its own is the first
    others = os.pathsep.join(folder for folder in folders if folder and real_path(folder) not in ours)
    return shutil.which("llmpt", path=others) if others else None


def _is_python(file: Path) -> bool:
    return file.name.lower().startswith(("python", "pypy")) and os.access(file, os.X_OK)


def _is_in(file: Path, prefix: str) -> bool:
    return file.parent.parent == Path(prefix) or real_path(file.parent.parent) == real_path(prefix)
