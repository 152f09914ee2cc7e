"""Fill a folder with what a workstation needs, besides llmpt, to install llmpt without the Internet: what `/dist/` hands out.

    python compose/dist.py locks/dist.txt dist/

The wheels that the lock names, each with the hash that it has there, for every Python and platform that libtorrent has wheels
for and that a workstation is likely to be.

`uv` tells which lines of the lock hold there (pip would judge the markers by the Python that it runs in), `pip` downloads: both
are modules of the Python that runs this.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

PYTHONS = ("3.10", "3.11", "3.12", "3.13")
PLATFORMS = {  # as uv calls them: the tags that pip takes for them
    "x86_64-manylinux_2_28": ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64"),
    "aarch64-manylinux_2_28": ("manylinux_2_28_aarch64", "manylinux_2_17_aarch64", "manylinux2014_aarch64"),
    "aarch64-apple-darwin": ("macosx_14_0_arm64",),
}
LOCKED = re.compile(r"^([\w.-]+==[\w.!+-]+)(?:[^\n\\]*)((?:\s*\\\n\s+--hash=sha256:[0-9a-f]{64})+)", re.MULTILINE)


def main(lock: str, target: str) -> None:
    text = Path(lock).read_text(encoding="utf-8")
    hashes = {name: re.findall(r"--hash=\S+", lines) for name, lines in LOCKED.findall(text)}
    Path(target).mkdir(parents=True, exist_ok=True)
    for platform, tags in PLATFORMS.items():
        for python in PYTHONS:
            pins = [" ".join([pin, *hashes[pin]]) for pin in needed(text, python, platform)]
            download(pins, python, tags, target)
    (Path(target) / "requirements.txt").write_text(text, encoding="utf-8")  # by which they are held to their hashes again


def needed(lock: str, python: str, platform: str) -> list[str]:
    """Return `name==version` of what the lock names for there."""
    command = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--no-header", "--no-annotate"]
    command += ["--python-version", python, "--python-platform", platform, "-"]
    environ = {**os.environ, "MACOSX_DEPLOYMENT_TARGET": "14.0"}
    return subprocess.run(command, input=lock, env=environ, stdout=subprocess.PIPE, text=True, check=True).stdout.split()


def download(pins: list[str], python: str, tags: tuple[str, ...], target: str) -> None:
    """Put the wheels of `pins` into `target`. Raises `CalledProcessError` also when one is not the file that was locked."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--dest", target]
    command += ["--require-hashes", "--only-binary=:all:", "--implementation", "cp", "--python-version", python]
    command += [word for tag in tags for word in ("--platform", tag)]
    command += ["--requirement", "/dev/stdin"]
    subprocess.run(command, input="\n".join(pins), text=True, check=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
