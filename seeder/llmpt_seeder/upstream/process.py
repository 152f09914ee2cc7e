"""The fetching process, seen from the seeder: started when it is needed, ended when it is not, killed when it hangs.

It is a process apart because it runs a library that is not ours, whose downloads have no end but their own, and whose memory is
given back with it. When it is killed, every fetch in it has failed, and may be tried again.
"""

from __future__ import annotations

import itertools
import json
import queue
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmpt.core.repo import RepoRef
from llmpt.host.tokens import without_tokens
from llmpt_seeder.errors import FetchFailed

END_TIMEOUT_S = 5.0
_NOT_OURS = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a file is on the Hub."""

    repo: RepoRef
    commit: str
    path: str


class Download:
    """A file that is being fetched. `answer` is asked by one thread."""

    def __init__(self) -> None:
        self._said: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()

    def answer(self, timeout_s: float) -> Path | None:
        """Return the file, None when it isn't there in time. Raises `FetchFailed`."""
        try:
            said = dict(self._said.get(timeout=timeout_s))
        except queue.Empty:
            return None
        if said.pop("event") == "done":
            return Path(said["file"])
        raise FetchFailed(said.pop("message"), **said)

    def end(self, said: dict[str, Any]) -> None:
        """Say what came of it."""
        self._said.put(said)


class FetchProcess:
    """A context manager that owns the process. Its methods may be called from any thread.

    `environ` is the seeder's own; the process gets no token but with what is fetched by it.
    """

    def __init__(self, *, endpoint: str, cache: Path, environ: Mapping[str, str]) -> None:
        self._endpoint, self._cache = endpoint, cache
        self._environ = {name: text for name, text in without_tokens(environ).items() if name not in _NOT_OURS} | {
            "HF_ENDPOINT": endpoint,
            "HF_HOME": str(cache / ".hf"),
            "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "HF_HUB_DISABLE_SHARED_BLOBS": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_XET": "1",
            "HF_USE_P2P": "0",
        }
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._pending: dict[int, Download] = {}
        self._ids = itertools.count()

    def __enter__(self) -> FetchProcess:
        return self

    def __exit__(self, *exc: object) -> None:
        self.end()

    def fetch(self, place: Place, token: str | None) -> Download:
        """Begin to fetch a file; raise `FetchFailed` when no process can be started."""
        wanted = {"repo_type": place.repo.type, "repo_id": place.repo.id, "commit": place.commit, "path": place.path}
        wanted |= {"cache": str(self._cache), "endpoint": self._endpoint, "token": token or ""}
        download = Download()
        with self._lock:
            try:
                process, number = self._running(), next(self._ids)
            except OSError as error:
                raise FetchFailed(f"the process that fetches cannot be started: {error.strerror or error}") from error
            self._pending[number] = download
            try:
                print(json.dumps({**wanted, "id": number}), file=process.stdin, flush=True)
            except OSError:  # it has just died, and the thread that listens to it says so
                pass
        return download

    def cancel(self, download: Download) -> None:
        """Break off one file; it need not be waited for."""
        with self._lock:
            number = next((number for number, one in self._pending.items() if one is download), None)
            if number is None or self._process is None:
                return
            del self._pending[number]
            try:
                print(json.dumps({"cancel": number}), file=self._process.stdin, flush=True)
            except OSError:  # it has just died
                pass

    def end_when_idle(self) -> None:
        """End the process unless it has something to do."""
        with self._lock:
            if not self._pending:
                self._kill()

    def end(self) -> None:
        """Kill the process, whatever it does."""
        with self._lock:
            self._kill()

    def _kill(self) -> None:
        process, self._process = self._process, None
        lost, self._pending = list(self._pending.values()), {}
        for download in lost:
            download.end({"event": "failed", "message": "the process that fetches has ended"})
        if process is None:
            return
        process.kill()
        process.wait(END_TIMEOUT_S)
        if process.stdin is not None:
            try:
                process.stdin.close()
            except OSError:  # what it did not read any more
                pass

    def _running(self) -> subprocess.Popen[str]:
        if self._process is None or self._process.poll() is not None:
            self._kill()
            self._process = subprocess.Popen(
                [sys.executable, "-m", "llmpt_seeder.upstream.worker"],
                env=self._environ,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                start_new_session=True,  # Ctrl-C is for the seeder
            )
            threading.Thread(target=self._listen, args=(self._process,), name="fetch answers", daemon=True).start()
        return self._process

    def _listen(self, process: subprocess.Popen[str]) -> None:
        """Pass on what a process says; when it ends, its fetches have failed."""
        assert process.stdout is not None  # noqa: S101  it is a pipe
        with process.stdout:
            for line in process.stdout:
                try:
                    said = json.loads(line)
                    number = said.pop("id")
                except (ValueError, KeyError):  # killed in the middle of a line
                    continue
                with self._lock:
                    download = self._pending.pop(number, None)
                if download is not None:
                    download.end(said)
        process.wait()
        with self._lock:
            if self._process is process:  # it has died by itself
                self._kill()
