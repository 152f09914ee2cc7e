"""Wheels that pip takes for real ones: metadata, and nothing else."""

from __future__ import annotations

import zipfile
from pathlib import Path


def stub(folder: Path, name: str, version: str) -> Path:
    """Write a wheel of `name` into `folder`; return where it lies."""
    info = f"{name}-{version}.dist-info"
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return path
