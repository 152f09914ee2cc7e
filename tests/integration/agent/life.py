"""What the tests of an agent's life share: what there is to download, how it is downloaded, and what is asked of the agent."""

from __future__ import annotations

import os
from pathlib import Path

from llmpt.link import lock
from tests.support.lan import BIG
from tests.support.machine import Machine

FILES = {f"{number}.bin": os.urandom(2 * BIG) for number in range(3)}
REPO, SLOW_REPO = "org/files", "org/slow"
SLOW = {"LLMPT_DOWNLOAD_LIMIT": "1M"}
SLOW_FILE = os.urandom(12 * BIG)


def get(file: str, *, folder: str = "here", repo: str = REPO) -> str:
    """A program that downloads one file and prints its path."""
    return f"from huggingface_hub import hf_hub_download as get; print(get({repo!r}, {file!r}, local_dir={folder!r}), flush=True)"


def fetch(machine: Machine, file: str, **environ: str) -> None:
    """Download one file with a program of its own, and look at it."""
    folder = f"here-{len(list(machine.root.glob('here-*')))}"
    machine.script(get(file, folder=folder), **environ)
    assert (machine.root / folder / file).read_bytes() == FILES[file]


def ended(machine: Machine, pid: int) -> bool:
    """Whether that agent has ended, with all that it held."""
    return not Path(f"/proc/{pid}").exists() and not lock.is_held({"XDG_RUNTIME_DIR": str(machine.root / "run")})


def downloading(machine: Machine) -> bool:
    return any(row["outcome"] == "running" and row["bytes_from_lan"] > 0 for row in machine.status().get("downloads", []))


def agents(machine: Machine) -> int:
    """How many agents have ever run here."""
    return machine.agent_log().count("ready at")
