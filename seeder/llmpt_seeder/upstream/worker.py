"""A process that fetches files by huggingface_hub's own `hf_hub_download`: `python -m` this module.

It reads a file's place as a line of JSON, and writes what came of it as another; several may be under way, and `{"cancel": ID}`
breaks one off. It ends with its standard input, and so with the seeder, in the middle of a file too. How far a file is can be
seen in the cache: `blobs/<etag>*.incomplete` grows.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import re
import sys
import threading
from typing import Any

from llmpt_seeder.errors import Throttled

CHUNK_BYTES = 256 << 10  # written at once: a slow line is seen to move


def main() -> None:
    """Fetch what standard input asks for, until it ends."""
    _prepare()
    answers = threading.Lock()
    fetches: dict[int, threading.Thread] = {}
    for line in sys.stdin:
        said = json.loads(line)
        if "cancel" in said:
            _break_off(fetches.get(said["cancel"]))
            continue
        fetches = {number: thread for number, thread in fetches.items() if thread.is_alive()}
        fetches[said["id"]] = threading.Thread(target=_serve, args=(said, answers), daemon=True)
        fetches[said["id"]].start()
    os._exit(0)  # whatever is under way


def _break_off(thread: threading.Thread | None) -> None:
    """End a thread at its next step: the library takes no word, and this exception is none that it catches to try again."""
    if thread is not None and thread.ident is not None:
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(SystemExit))


def _serve(wanted: dict[str, Any], answers: threading.Lock) -> None:
    answer = {"id": wanted["id"], **_fetch(wanted)}
    with answers:
        print(json.dumps(answer), flush=True)  # noqa: T201


def _prepare() -> None:
    """Let the library write in small steps, fetch files of any size by plain HTTP, and leave it to us to wait after a 429."""
    from huggingface_hub import constants

    constants.DOWNLOAD_CHUNK_SIZE = CHUNK_BYTES
    constants.MAX_HTTP_DOWNLOAD_SIZE = sys.maxsize
    try:
        from huggingface_hub import set_client_factory
        from huggingface_hub.utils._http import default_client_factory
    except ImportError:  # before 1.0; it raises on a 429 by itself
        return

    def client() -> Any:
        made = default_client_factory()
        made.event_hooks["response"] = [*made.event_hooks.get("response", ()), _notice_429]
        return made

    set_client_factory(client)


def _notice_429(response: Any) -> None:
    if response.status_code == 429:
        raise Throttled(_seconds(response.headers.get("Retry-After")))


def _fetch(wanted: dict[str, Any]) -> dict[str, Any]:
    from huggingface_hub import hf_hub_download

    try:
        path = hf_hub_download(
            wanted["repo_id"],
            wanted["path"],
            repo_type=wanted["repo_type"],
            revision=wanted["commit"],
            cache_dir=wanted["cache"],
            endpoint=wanted["endpoint"],
            token=wanted["token"] or False,
        )
    except Exception as error:  # noqa: BLE001  the library's own, of any of its versions: told to the seeder
        return _failure(error)
    return {"event": "done", "file": path}


def _failure(error: BaseException) -> dict[str, Any]:
    """Say what went wrong: the Hub's own no where there is one, else in words; `final` when there is no room."""
    cause: BaseException | None = error
    while cause is not None:  # the library wraps what happened at the metadata's request
        if isinstance(cause, Throttled):
            return _failed(str(cause), status=429, retry_after_s=cause.retry_after_s)
        if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT):
            return _failed(os.strerror(cause.errno), final=True)
        response = getattr(cause, "response", None)
        if response is not None and getattr(response, "status_code", None):
            headers = response.headers
            message = headers.get("X-Error-Message") or f"the Hub answered {response.status_code}"
            retry = _seconds(headers.get("Retry-After"))
            code = headers.get("X-Error-Code")
            return _failed(message, status=int(response.status_code), code=code, retry_after_s=retry)
        cause = cause.__cause__ or cause.__context__
    words = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return _failed(f"{type(error).__name__}: {words}" if words else type(error).__name__)


def _failed(message: str, **more: object) -> dict[str, Any]:
    return {"event": "failed", "message": message[:1000], **more}


def _seconds(text: str | None) -> int | None:
    return int(text) if text and re.fullmatch(r"[0-9]{1,6}", text.strip()) else None


if __name__ == "__main__":
    main()
