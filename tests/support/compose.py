"""One project of `docker compose` for a test: brought up under a random name, torn down whatever happens.

Containers are looked into through the Docker SDK; what they print is kept when a test failed.
"""

from __future__ import annotations

import os
import secrets
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import docker
import pytest
from docker.errors import DockerException
from docker.models.containers import Container

ROOT = Path(__file__).parents[2]
LOGS = ROOT / "test-logs"
TAG = "e2e"

NO_ENGINE = (
    "The end-to-end tests need a Docker engine and `docker compose` 2, and none answers ({reason}). "
    "Install Docker Engine (https://docs.docker.com/engine/install/), start it, and see that `docker info` works for this user; "
    "`make test` runs everything that needs no Docker."
)


def engine() -> Any:
    """Return a client of the Docker engine; fails the test run with a sentence that says how to get one."""
    try:
        client = docker.from_env()
        client.ping()
        subprocess.run(["docker", "compose", "version"], check=True, capture_output=True, timeout=60)
    except (DockerException, OSError, subprocess.SubprocessError) as error:
        pytest.fail(NO_ENGINE.format(reason=str(error).splitlines()[0]), pytrace=False)
    return client


class Compose:
    """A project made of some of the files in compose/, with the environment `settings`."""

    def __init__(self, client: Any, *files: str, **settings: str) -> None:
        self.client = client
        self.name = f"llmpt-test-{secrets.token_hex(4)}"
        self._files = [argument for file in files for argument in ("--file", str(ROOT / "compose" / file))]
        self._settings = {"LLMPT_TAG": TAG, **settings}

    def __call__(self, *arguments: str, timeout_s: float = 300) -> str:
        """Run `docker compose` with `arguments`; return what it printed. Raises `AssertionError` with its words."""
        command = ["docker", "compose", "--project-name", self.name, "--ansi", "never", *self._files, *arguments]
        done = run(command, environ=self._settings, timeout_s=timeout_s)
        assert done.returncode == 0, f"{' '.join(arguments)} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
        return done.stdout

    def build(self, *services: str) -> None:
        self("build", *services, timeout_s=900)

    def up(self, *services: str, recreate: bool = False) -> None:
        """Start the services, and return when they are healthy."""
        self("up", "--no-build", "--detach", "--wait", *(["--force-recreate", "--no-deps"] if recreate else []), *services)

    def stop(self, *services: str) -> None:
        self("stop", *services)

    def down(self) -> None:
        """Remove everything that the project has: containers, networks, volumes."""
        self("down", "--volumes", "--remove-orphans", "--timeout", "10")

    def container(self, service: str) -> Container:
        labels = [f"com.docker.compose.project={self.name}", f"com.docker.compose.service={service}"]
        (found,) = self.client.containers.list(all=True, filters={"label": labels})
        return found

    def keep_logs(self, test: str) -> Path:
        """Write what the containers printed into test-logs/; return the file."""
        path = log_file(test)
        path.write_text(self("logs") + self("ps", "--all"))
        return path


def log_file(test: str) -> Path:
    LOGS.mkdir(exist_ok=True)
    return LOGS / f"{test.replace('/', '_').replace('::', '-')}.log"


def run(command: Sequence[str], *, environ: Mapping[str, str], timeout_s: float = 300) -> subprocess.CompletedProcess[str]:
    """Run a program with `environ` on top of ours, less what would change what is tested."""
    ours = {name: text for name, text in os.environ.items() if not name.startswith(("LLMPT_", "HF_", "COMPOSE_", "PUID", "PGID"))}
    return subprocess.run(command, env={**ours, **environ}, cwd=ROOT, capture_output=True, text=True, timeout=timeout_s)
