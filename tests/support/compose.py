"""One project of `docker compose` for a test: brought up under a random name, torn down whatever happens.

Containers are looked into through the Docker SDK; what they print is kept when a test failed.
"""

from __future__ import annotations

import os
import secrets
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import docker
import pytest
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
    """Return a client of the Docker engine that the `docker` command uses; fails with a sentence that says how to get one."""
    _docker("info", "--format", "{{.ServerVersion}}")
    _docker("compose", "version")
    host = _docker("context", "inspect", "--format", "{{.Endpoints.docker.Host}}")
    return docker.from_env(environment={**os.environ, "DOCKER_HOST": host})


def _docker(*arguments: str) -> str:
    try:
        done = subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=60)
        if done.returncode == 0:
            return done.stdout.strip()
        reason = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1]
    except (OSError, subprocess.SubprocessError, IndexError) as error:
        reason = str(error)
    pytest.fail(NO_ENGINE.format(reason=reason), pytrace=False)


class Compose:
    """A project made of some of the files in compose/, with the environment `settings`.

    A context manager: leaving it removes all that the project has; leaving it by an exception keeps what was printed.
    """

    def __init__(self, client: Any, *files: str, **settings: str) -> None:
        self.client = client
        self.name = f"llmpt-test-{secrets.token_hex(4)}"
        self._files = [argument for file in files for argument in ("--file", str(ROOT / "compose" / file))]
        self._settings = {"LLMPT_TAG": TAG, **settings}

    def __enter__(self) -> Compose:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if kind is not None:
                keep(self.logs(), self.name)
        finally:
            self("down", "--volumes", "--remove-orphans", "--timeout", "10")

    def __call__(self, *arguments: str, timeout_s: float = 300) -> str:
        """Run `docker compose` with `arguments`; return what it printed. Raises `AssertionError` with its words."""
        command = ["docker", "compose", "--project-name", self.name, "--ansi", "never", *self._files, *arguments]
        done = run(command, environ=self._settings, timeout_s=timeout_s)
        assert done.returncode == 0, f"{' '.join(arguments)} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
        return done.stdout

    def build(self, *services: str) -> None:
        self("build", *services, timeout_s=900)

    def up(self, *services: str, recreate: bool = False, **numbers: int) -> None:
        """Start the services, `numbers` of them where not one, and return when they are healthy."""
        options = ["--force-recreate", "--no-deps"] if recreate else []
        options += [f"--scale={service}={number}" for service, number in numbers.items()]
        self("up", "--no-build", "--detach", "--wait", *options, *services)

    def stop(self, *services: str) -> None:
        self("stop", *services)

    def container(self, service: str) -> Container:
        (found,) = self.containers(service)
        return found

    def containers(self, service: str) -> list[Container]:
        """All containers of a service, in the order of their numbers."""
        labels = [f"com.docker.compose.project={self.name}", f"com.docker.compose.service={service}"]
        found: list[Container] = self.client.containers.list(all=True, filters={"label": labels})
        return sorted(found, key=lambda one: int(one.labels["com.docker.compose.container-number"]))

    def logs(self) -> str:
        """Return what the containers printed, and how they are."""
        return self("logs") + self("ps", "--all")


def keep(logs: str, name: str) -> Path:
    """Write what containers printed into test-logs/; return the file."""
    LOGS.mkdir(exist_ok=True)
    path = LOGS / f"{name.replace('/', '_').replace('::', '-')}.log"
    path.write_text(logs)
    return path


def run(command: Sequence[str], *, environ: Mapping[str, str], timeout_s: float = 300) -> subprocess.CompletedProcess[str]:
    """Run a program with `environ` on top of ours, less what would change what is tested."""
    ours = {name: text for name, text in os.environ.items() if not name.startswith(("LLMPT_", "HF_", "COMPOSE_", "PUID", "PGID"))}
    return subprocess.run(command, env={**ours, **environ}, cwd=ROOT, capture_output=True, text=True, timeout=timeout_s)
