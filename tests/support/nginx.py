"""nginx, in front of what is tested or beside what is measured; all that it writes lies in one folder."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PROGRAM = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
_WRITTEN = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


@contextmanager
def running(folder: Path, http: str, *, workers: str = "1") -> Iterator[int]:
    """Run nginx with `http` in its block of that name; yield its process. It may not answer yet."""
    assert PROGRAM is not None, "needs nginx (Debian: apt-get install nginx-light)"
    folder.mkdir(parents=True, exist_ok=True)
    user = "user root;" if os.geteuid() == 0 else ""
    written = " ".join(f"{one}_temp_path {folder}/{one};" for one in _WRITTEN)
    config = folder / "nginx.conf"
    config.write_text(
        f"{user} daemon off; worker_processes {workers}; pid {folder}/pid; error_log {folder}/error.log;\n"
        f"events {{ worker_connections 4096; }}\nhttp {{ access_log off; {written}\n{http}\n}}\n"
    )
    command = [PROGRAM, "-e", str(folder / "error.log"), "-p", str(folder), "-c", str(config)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            yield process.pid
        finally:
            process.terminate()
