"""A PostgreSQL of the tests' own: a cluster in a folder of its own, reached by a Unix socket, and gone with them."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.support.process import ServerProcess
from tests.support.waiting import eventually

USER = "postgres"  # of the cluster, and the one of this host that runs it: PostgreSQL does not run as root
# What a crash of the machine would take is nothing to the tests; and they are few at a time.
OPTIONS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "listen_addresses": "",
    "shared_buffers": "32MB",
}


def programs() -> Path | None:
    """Return the folder of the newest PostgreSQL's programs on this machine; None without one."""
    found = [Path(program).parent for program in (shutil.which("initdb"),) if program]
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: int(folder.parent.name))
    return found[-1] if found else None


class PostgresProcess(ServerProcess):
    """Runs while the `with` block does. `settings`: further ones of postgresql.conf."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or Path(tempfile.mkdtemp(prefix="llmpt-pg-", dir="/tmp"))  # short: a socket lies in it
        super().__init__(self.folder / "log")
        bin_folder = programs()
        assert bin_folder is not None
        self._programs = bin_folder

    def url(self, name: str) -> str:
        """Return the URL of a database of that name."""
        return f"postgresql+psycopg://{USER}@/{name}?host={self.folder}"

    def start(self) -> None:
        """Make the cluster if there is none, start it, and wait until it answers."""
        if not (self.folder / "data").exists():
            if os.geteuid() == 0:
                shutil.chown(self.folder, USER, USER)
            init = [
                self._programs / "initdb",
                "--pgdata",
                self.folder / "data",
                "--username",
                USER,
                "--auth",
                "trust",
                "--no-sync",
            ]
            # Sorted as people sort, which is not how SQLite does: nothing may depend on what a database was made with.
            init += ["--encoding", "UTF8", "--locale", "C.UTF-8", "--locale-provider", "icu", "--icu-locale", "en-US"]
            subprocess.run(_as_user(*init), check=True, stdout=subprocess.DEVNULL)
        options = [word for name, value in OPTIONS.items() for word in ("-c", f"{name}={value}")]
        self._spawn(
            _as_user(self._programs / "postgres", "-D", self.folder / "data", "-k", self.folder, *options), {**os.environ}
        )
        eventually(self._answers, timeout_s=30, what="PostgreSQL answers")

    def stop(self) -> int | None:
        """End it at once (SIGINT: its clients are cut off)."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(2)
        return super().stop() if self._process is not None else None

    def __exit__(self, *exc: object) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def create(self, name: str, *, template: str = "template1") -> str:
        """Make a database, like that one, and return its URL."""
        self.sql(f"create database {name} template {template}")
        return self.url(name)

    def sql(self, statement: str) -> None:
        command = [str(self._programs / "psql"), "-h", str(self.folder), "-U", USER, "-q", "-v", "ON_ERROR_STOP=1"]
        subprocess.run([*command, "-c", statement, "postgres"], check=True)

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log.read_text()
        command = [str(self._programs / "pg_isready"), "-q", "-h", str(self.folder)]
        return subprocess.run(command, check=False).returncode == 0


def _as_user(*command: object) -> list[str]:
    """Return the command as an ordinary user's that ends with the tests, also when they are killed."""
    become = ["--reuid", USER, "--regid", USER, "--clear-groups"] if os.geteuid() == 0 else []
    return ["setpriv", *become, "--pdeathsig", "INT", *map(str, command)]
