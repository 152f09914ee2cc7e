"""A backup on a disk that was prepared: what `llmpt-tracker restore` does with it, a real command with little memory and disk."""

from __future__ import annotations

import io
import json
import os
import resource
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.machine import quiet_environment

DATABASE, CONTENTS = "tracker.db", "backup.json"
MEMORY, FILE = 2 << 30, 64 << 20  # bytes: what the command may take
HUGE = 8 << 30


def contents(**more: object) -> bytes:
    said = {"format": 1, "llmpt": "9", "schema": "0001", "made_at": "2026-01-01T00:00:00+00:00"}
    return json.dumps(said | {"files": {DATABASE: {"size": HUGE, "sha256": "0" * 64}}} | more).encode()


def member(name: str, content: bytes, **pax: str) -> bytes:
    """Return a member of a tar archive, with these extended headers."""
    with io.BytesIO() as whole, tarfile.open(fileobj=whole, mode="w", format=tarfile.PAX_FORMAT) as tar:
        one = tarfile.TarInfo(name)
        one.size, one.pax_headers = len(content), {key.replace("__", "."): text for key, text in pax.items()}
        tar.addfile(one, io.BytesIO(content))
        return whole.getvalue()


def deep(file: Path) -> None:
    file.write_bytes(member(CONTENTS, b"[" * 200_000))


def hollow(file: Path) -> None:
    """A catalogue of 8 GiB, in 1 KiB."""
    head = {"GNU__sparse__major": "1", "GNU__sparse__minor": "0", "GNU__sparse__realsize": str(HUGE)}
    file.write_bytes(member(CONTENTS, contents()) + member(DATABASE, b"0\n".ljust(512, b"\0"), **head))


def endless_header(file: Path) -> None:
    one = tarfile.TarInfo("././@PaxHeader")
    one.type, one.size = tarfile.XHDTYPE, HUGE
    file.write_bytes(one.tobuf(tarfile.GNU_FORMAT))
    os.truncate(file, HUGE + 4096)


def headers_of_headers(file: Path) -> None:
    one = tarfile.TarInfo("././@PaxHeader")
    one.type = tarfile.XHDTYPE
    file.write_bytes(one.tobuf(tarfile.USTAR_FORMAT) * 5000 + member(CONTENTS, contents()))


def escapes(file: Path) -> None:
    file.write_bytes(member(CONTENTS, contents(format="\x1b]0;evil\x07\u202e\n")))


def linked(file: Path) -> None:
    """The catalogue is a link to a file of the server's."""
    with io.BytesIO() as whole, tarfile.open(fileobj=whole, mode="w") as tar:
        one = tarfile.TarInfo(DATABASE)
        one.type, one.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(one)
        file.write_bytes(member(CONTENTS, contents(files={DATABASE: {"size": 0, "sha256": "0" * 64}})) + whole.getvalue())


def limited() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE, FILE))


@pytest.mark.parametrize("prepared", [deep, hollow, endless_header, headers_of_headers, escapes, linked])
def test_a_prepared_backup_ends_in_a_sentence_and_changes_nothing(prepared: Callable[[Path], None], tmp_path: Path) -> None:
    data = tmp_path / "data"
    prepared(file := tmp_path / "llmpt.backup")
    done = subprocess.run(
        [sys.executable, "-m", "llmpt_tracker", "restore", str(file)],
        env=quiet_environment() | {"HOME": str(tmp_path), "LLMPT_DATA": str(data)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        preexec_fn=limited,
    )
    (line,) = done.stderr.splitlines()
    assert done.returncode == 1
    assert line.isprintable()
    assert "is no backup of llmpt-tracker" in line or "of format" in line
    assert [one.name for one in data.iterdir() if one.name.startswith(("tracker.db", ".tracker.db", "server", "publish"))] == []
