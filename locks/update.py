"""Write the locks beside this file: what each role is installed with, every file of it by its hash. `make lock` runs it.

    python locks/update.py            # keeps what is locked, and adds what pyproject.toml needs since
    python locks/update.py --upgrade  # the newest of everything

A lock holds for every Python and platform that the project names. `uv` is a module of the Python that runs this.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FOLDER = Path(__file__).parent
# What a role needs besides the client's own dependencies, and what of them it does without.
ROLES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "client": ((), ()),
    "dist": ((), ("huggingface_hub",)),  # an environment that downloads has it, in the version that its project pinned
    "tracker": (("tracker", "postgresql", "valkey"), ("huggingface_hub", "libtorrent")),  # runs neither the hook nor a swarm
    "seeder": (("seeder",), ()),
    "dev": (("tracker", "postgresql", "valkey", "seeder", "lan", "dev"), ()),
}
# What installs the others, and what looks at them.
TOOLS: dict[str, tuple[str, ...]] = {
    "build": ("pip", "uv", "hatchling", "editables"),
    "audit": ("pip-audit", "cyclonedx-bom"),
}


def main(*options: str) -> None:
    project: dict[str, Any] = tomllib.loads((FOLDER.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = {role: needed(project, role) for role in ROLES} | {role: list(names) for role, names in TOOLS.items()}
    for role, requirements in wanted.items():
        lock(role, requirements, project["requires-python"].removeprefix(">="), options)


def needed(project: dict[str, Any], role: str) -> list[str]:
    """Return the requirements of a role, as pyproject.toml has them."""
    extras, left_out = ROLES[role]
    lines = sum((project["optional-dependencies"][name] for name in extras), project["dependencies"])
    return [line for line in lines if not line.startswith(("llmpt[", *left_out))]


def lock(role: str, requirements: list[str], python: str, options: tuple[str, ...]) -> None:
    """Resolve for every platform, and write `<role>.txt`."""
    target = FOLDER / f"{role}.txt"
    command = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--universal", "--generate-hashes", "--no-header"]
    command += ["--no-annotate", "--no-emit-index-url", "--python-version", python, "--output-file", str(target), "-", *options]
    # macOS before 14 has no wheel of libtorrent, and nothing else here depends on the version.
    environ = {**os.environ, "MACOSX_DEPLOYMENT_TARGET": "14.0"}
    subprocess.run(command, input="\n".join(requirements), env=environ, text=True, check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main(*sys.argv[1:])
