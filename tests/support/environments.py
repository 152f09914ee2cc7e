"""Virtual environments in which llmpt is installed beside a given version of huggingface_hub, as a user has it.

They are made once, with uv, under `.cache/environments`, and reused while pyproject.toml and the sources stay the same.
"""

from __future__ import annotations

import fcntl
import functools
import hashlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uv

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENTS = ROOT / ".cache" / "environments"
MAKE_TIMEOUT_S = 900  # torch comes with two GB


def environment(hub_version: str, *extras: str, beside: tuple[str, ...] = (), editable: bool = False) -> Path:
    """Return the Python of an environment with huggingface_hub == `hub_version`, llmpt (with `extras`) and libtorrent.

    llmpt is installed from a wheel built of this checkout; `editable`: as a link to it. `beside` are further requirements,
    as pip takes them.
    """
    others = [requirement.replace("==", "") for requirement in beside]
    name = "-".join([f"hub{hub_version}", *sorted(extras), *others, "editable" if editable else "wheel"])
    folder = ENVIRONMENTS / f"{name}-{_fingerprint(sources=not editable)}"
    python = folder / "bin" / "python"
    with _locked(name):
        if not (folder / "ready").exists():
            shutil.rmtree(folder, ignore_errors=True)
            what = ROOT if editable else wheel()
            wanted = f"{what}[{','.join(extras)}]" if extras else str(what)
            _uv("venv", "--quiet", "--python", sys.executable, str(folder))
            target = ["--editable", wanted] if editable else [wanted]
            _uv("pip", "install", "--quiet", "--python", str(python), f"huggingface_hub=={hub_version}", *beside, *target)
            (folder / "ready").touch()
            _forget_older(name, keep=folder)
    return python


def wheel() -> Path:
    """Build the wheel of this checkout, once; return where it lies."""
    folder = ENVIRONMENTS / f"wheel-{_fingerprint(sources=True)}"
    with _locked("wheel"):
        if not list(folder.glob("*.whl")):
            _uv("build", "--quiet", "--wheel", "--out-dir", str(folder), str(ROOT))
            _forget_older("wheel", keep=folder)
    return next(folder.glob("*.whl"))


@functools.cache
def _fingerprint(*, sources: bool) -> str:
    files = [ROOT / "pyproject.toml", ROOT / "client" / "llmpt.pth", ROOT / "client" / "llmpt.start"]
    for package in ("client/llmpt", "tracker/llmpt_tracker", "seeder/llmpt_seeder") if sources else ():
        files += (path for path in (ROOT / package).rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    digest = hashlib.sha256(sys.version.encode())
    for path in sorted(files):
        digest.update(f"{path.relative_to(ROOT)}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


@contextmanager
def _locked(name: str) -> Iterator[None]:
    ENVIRONMENTS.mkdir(parents=True, exist_ok=True)
    with (ENVIRONMENTS / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _forget_older(name: str, *, keep: Path, leave: int = 2) -> None:
    """Remove what was made from sources of long ago; the latest ones may be in use by another run."""
    others = [folder for folder in ENVIRONMENTS.glob(f"{name}-????????????") if folder != keep]
    for folder in sorted(others, key=lambda path: path.stat().st_mtime, reverse=True)[leave:]:
        shutil.rmtree(folder, ignore_errors=True)


def _uv(*arguments: str) -> None:
    result = subprocess.run(
        [uv.find_uv_bin(), *arguments], capture_output=True, text=True, timeout=MAKE_TIMEOUT_S, cwd=ROOT, check=False
    )
    if result.returncode != 0:
        raise RuntimeError(f"uv {' '.join(arguments)} failed:\n{result.stderr[-4000:]}")
