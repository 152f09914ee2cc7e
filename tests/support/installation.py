"""A second installation of llmpt, of whatever version, that a Python finds before its own: put it into PYTHONPATH."""

from __future__ import annotations

import shutil
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "client" / "llmpt"


def install_as(version: str, folder: Path) -> str:
    """Install this checkout's client in `folder` as if it were `version`; return the PYTHONPATH that leads to it."""
    shutil.copytree(PACKAGE, folder / "llmpt", ignore=shutil.ignore_patterns("__pycache__"))
    metadata = folder / f"llmpt-{version}.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: llmpt\nVersion: {version}\n")
    (metadata / "RECORD").write_text(f"{metadata.name}/METADATA,,\n")
    return str(folder)


def uninstall(folder: Path) -> None:
    """As pip does it: the files go, whatever still runs from them."""
    shutil.rmtree(folder)
