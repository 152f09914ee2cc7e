"""Checks of what else on this machine downloads from the Hub and has no hook: other Pythons, containers."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from llmpt.core.files import real_path
from llmpt.doctor.context import Context
from llmpt.doctor.finding import Finding, ok, skip, warn
from llmpt.host.tokens import without_tokens

PROGRAMS = ("hf", "huggingface-cli", "python3", "python", "vllm")
ALL_CONTAINERS_S = 10.0
ONE_S = 3.0
_ASK = "import importlib.util as u; print(*(u.find_spec(n) is not None for n in ('huggingface_hub', 'llmpt')))"


def pythons(context: Context) -> Finding:
    """Do all the Pythons of PATH and of conda that have huggingface_hub have llmpt, too?"""
    bare, hooked = [], 0
    for root in dict.fromkeys(_environments(context)):
        packages = _packages(root)
        if any((folder / "huggingface_hub").is_dir() for folder in packages):
            if any((folder / "llmpt.pth").exists() for folder in packages):
                hooked += 1
            else:
                bare.append(root)
    if bare:
        python = bare[0] / "bin" / "python3"
        names = ", ".join(map(str, bare))
        return warn(f"huggingface_hub without llmpt: {names}", f"install llmpt there, too, such as with {python} -m pip install")
    return ok(f"{hooked} on PATH with huggingface_hub, and with llmpt" if hooked else "none on PATH has huggingface_hub")


def _environments(context: Context) -> Iterator[Path]:
    """The roots of the environments whose programs PATH finds, of the active one, and of conda's."""
    yield Path(sys.prefix)
    for variable in ("VIRTUAL_ENV", "CONDA_PREFIX"):
        if context.environ.get(variable):
            yield Path(context.environ[variable])
    for folder in context.environ.get("PATH", "").split(":"):
        for name in PROGRAMS:
            program = Path(folder) / name
            if folder and program.is_file():
                yield _root_of(program)
    conda = Path(context.environ.get("HOME", "/nonexistent")) / ".conda" / "environments.txt"
    try:
        yield from (Path(line) for line in conda.read_text().splitlines() if line.strip())
    except (OSError, UnicodeDecodeError):
        pass  # no conda here


def _root_of(program: Path) -> Path:
    """The environment that a program on PATH runs in: that of the interpreter in its first line, if it has one."""
    try:
        with program.open("rb") as file:
            first = file.readline(4096)
        interpreter = Path(first[2:].decode().split()[0]) if first.startswith(b"#!") else program
    except (OSError, UnicodeDecodeError, IndexError):
        interpreter = program
    if interpreter.name == "env":
        interpreter = program
    folder = interpreter.parent
    if not (folder.parent / "pyvenv.cfg").exists():  # not an environment: a link on PATH to the real place
        folder = real_path(interpreter).parent
    return folder.parent


def _packages(root: Path) -> list[Path]:
    return [
        *root.glob("lib/python3*/site-packages"),
        *root.glob("lib/python3*/dist-packages"),
        *root.glob("lib/python3/dist-packages"),
    ]


def containers(context: Context) -> Finding:
    """Do the running containers that have huggingface_hub have llmpt, too? (Where a docker command works.)"""
    docker = shutil.which("docker", path=context.environ.get("PATH"))
    listed = None if docker is None else _output(context, docker, "ps", "--format", "{{.ID}} {{.Names}}")
    if docker is None or listed is None:
        return skip("no docker command that works here")
    bare, hooked, deadline = [], 0, time.monotonic() + ALL_CONTAINERS_S
    for line in listed.splitlines():
        number, _, name = line.partition(" ")
        answer = _output(context, docker, "exec", number, "python3", "-c", _ASK) if time.monotonic() < deadline else None
        if answer is not None and answer.split() == ["True", "False"]:
            bare.append(name or number)
        elif answer is not None and answer.split() == ["True", "True"]:
            hooked += 1
    if bare:
        return warn(
            f"containers with huggingface_hub and without llmpt: {', '.join(bare)}",
            "install llmpt in their image and set LLMPT_TRACKER; they need an agent inside, or one shared: see compose/README.md",
        )
    return ok(f"{hooked} running with huggingface_hub, and with llmpt" if hooked else "none that runs has huggingface_hub")


def _output(context: Context, *command: str) -> str | None:
    try:
        done = subprocess.run(
            command,
            env=without_tokens(context.environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=ONE_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
