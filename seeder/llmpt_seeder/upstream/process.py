"""One fetching process, seen from the seeder: started when it is needed, ended when it is not, killed when it hangs."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmpt.core.errors import LlmptError
from llmpt.core.repo import RepoRef

END_TIMEOUT_S = 5.0
_NOT_OURS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "LLMPT_TOKEN")


class FetchFailed(LlmptError):
    """A file did not come. `status`, `code` and `retry_after_s` are the Hub's when it said no; `final`: it is no use to try again
    soon, because there is no room, or what came is not what it should be."""

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        code: str | None = None,
        retry_after_s: int | None = None,
        final: bool = False,
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.retry_after_s, self.final = status, code, retry_after_s, final

    @property
    def may_pass(self) -> bool:
        """Whether trying again may help."""
        return not self.final and (self.status is None or self.status in (408, 429) or self.status >= 500)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a file is on the Hub."""

    repo: RepoRef
    commit: str
    path: str


class FetchProcess:
    """A context manager that owns the process. `environ` is the seeder's own; the process gets no token but by `fetch`."""

    def __init__(self, *, endpoint: str, cache: Path, environ: Mapping[str, str]) -> None:
        self._endpoint, self._cache = endpoint, cache
        self._environ = {name: text for name, text in environ.items() if name not in _NOT_OURS} | {
            "HF_ENDPOINT": endpoint,
            "HF_HOME": str(cache / ".hf"),
            "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "HF_HUB_DISABLE_SHARED_BLOBS": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_XET": "1",
            "HF_USE_P2P": "0",
        }
        self._process: subprocess.Popen[str] | None = None
        self._answers: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()

    def __enter__(self) -> FetchProcess:
        return self

    def __exit__(self, *exc: object) -> None:
        self.end()

    def begin(self, place: Place, token: str | None) -> None:
        """Have a file fetched; `answer` tells what came of it."""
        process = self._running()
        wanted = {"repo_type": place.repo.type, "repo_id": place.repo.id, "commit": place.commit, "path": place.path}
        wanted |= {"cache": str(self._cache), "endpoint": self._endpoint, "token": token or ""}
        assert process.stdin is not None  # noqa: S101  it is a pipe
        try:
            process.stdin.write(json.dumps(wanted) + "\n")
            process.stdin.flush()
        except OSError:  # it has just died; `answer` says so
            pass

    def answer(self, timeout_s: float) -> Path | None:
        """Return the file, None when it isn't there in time. Raises `FetchFailed`."""
        try:
            said = self._answers.get(timeout=timeout_s)
        except queue.Empty:
            return None
        if said is None:
            self.end()
            raise FetchFailed("the process that fetches has died")
        if said.pop("event") == "done":
            return Path(said["file"])
        raise FetchFailed(said.pop("message"), **said)

    def end(self) -> None:
        """Kill the process, whatever it does."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait(END_TIMEOUT_S)
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    try:
                        pipe.close()
                    except OSError:  # what it did not read any more
                        pass

    def _running(self) -> subprocess.Popen[str]:
        if self._process is not None and self._process.poll() is None:
            return self._process
        self.end()
        self._answers = queue.SimpleQueue()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "llmpt_seeder.upstream.worker"],
            env=self._environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C is for the seeder
        )
        threading.Thread(target=_listen, args=(self._process, self._answers), name="fetch answers", daemon=True).start()
        return self._process


def _listen(process: subprocess.Popen[str], answers: queue.SimpleQueue[dict[str, Any] | None]) -> None:
    assert process.stdout is not None  # noqa: S101  it is a pipe
    try:
        for line in process.stdout:
            answers.put(json.loads(line))
    except (OSError, ValueError):  # closed, or killed in the middle of a line
        pass
    answers.put(None)
