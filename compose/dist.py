"""Fill a folder with what a workstation needs, besides llmpt, to install llmpt without the Internet: what `/dist/` hands out.

    python compose/dist.py pyproject.toml dist/

The wheels of everything that the client depends on, for every Python and platform that libtorrent has wheels for and that a
workstation is likely to be. Only huggingface_hub is left out: an environment that downloads with it has it, in the version
that its project pinned, with a dozen dependencies of its own.

`uv` resolves (pip would judge the markers by the Python that it runs in), `pip` downloads: both are modules of the Python that
runs this.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PYTHONS = ("3.10", "3.11", "3.12", "3.13")
PLATFORMS = {  # as uv calls them: the tags that pip takes for them
    "x86_64-manylinux_2_28": ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64"),
    "aarch64-manylinux_2_28": ("manylinux_2_28_aarch64", "manylinux_2_17_aarch64", "manylinux2014_aarch64"),
    "aarch64-apple-darwin": ("macosx_14_0_arm64",),
}
LEFT_OUT = "huggingface_hub"


def main(project: str, target: str) -> None:
    dependencies: list[str] = tomllib.loads(Path(project).read_text())["project"]["dependencies"]
    wanted = "\n".join(line for line in dependencies if not line.startswith(LEFT_OUT))
    Path(target).mkdir(parents=True, exist_ok=True)
    for platform, tags in PLATFORMS.items():
        for python in PYTHONS:
            download(resolve(wanted, python, platform), python, tags, target)


def resolve(wanted: str, python: str, platform: str) -> list[str]:
    """Return `name==version` of everything that is needed there."""
    command = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--no-header", "--no-annotate"]
    command += ["--python-version", python, "--python-platform", platform, "-"]
    environ = {**os.environ, "MACOSX_DEPLOYMENT_TARGET": "14.0"}
    return subprocess.run(command, input=wanted, env=environ, stdout=subprocess.PIPE, text=True, check=True).stdout.split()


def download(pins: list[str], python: str, tags: tuple[str, ...], target: str) -> None:
    """Put the wheels of `pins` into `target`."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--dest", target]
    command += ["--only-binary=:all:", "--implementation", "cp", "--python-version", python]
    command += [word for tag in tags for word in ("--platform", tag)]
    subprocess.run([*command, *pins], check=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
