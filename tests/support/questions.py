"""A program that knows nothing of llmpt and asks about a repo in many ways; it prints what it saw, and what that cost the Hub.

python questions.py '{"hub": "http://…", "repo": "org/name", "commit": "…", "gated": "org/gated", "size": 1500000, "way": ""}'

The way to the Hub, for all but the counting of its requests: "closed", it refuses connections; "unresolved", it has no address.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import sys
import threading
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

counting = threading.Event()


def requests_at(hub: str) -> list[dict[str, Any]]:
    """What the stand-in Hub was asked so far; what the library asks about itself does not count, nor the agent's sample."""
    counting.set()
    with urllib.request.urlopen(f"{hub}/_counts", timeout=5) as answer:
        asked: list[dict[str, Any]] = json.load(answer)["requests"]
    counting.clear()
    return [one for one in asked if "agent-harnesses" not in one["raw_path"] and not one["program"].startswith("llmpt")]


def cut_off(hub: str, way: str) -> None:
    """Take this process's way to the Hub away."""
    there, find = urlsplit(hub), socket.getaddrinfo

    def found(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        if (host, port) != (there.hostname, there.port) or counting.is_set():
            return find(host, port, *args, **kwargs)
        if way == "unresolved":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return find(host, 1, *args, **kwargs)

    socket.getaddrinfo = found  # type: ignore[assignment,unused-ignore]


def found_below(folder: str) -> dict[str, int]:
    root = Path(folder)
    files = (path for path in root.rglob("*") if path.is_file() and not path.relative_to(root).parts[0].startswith("."))
    return {path.relative_to(root).as_posix(): path.stat().st_size for path in files}


def streamed(path: str, size: int) -> dict[str, str]:
    """Read a part of a file, and all of it, without downloading it; return the SHA-256 of what was read.

    Nothing is read at the end: there huggingface_hub 0.23 begins anew, for ever.
    """
    from huggingface_hub import HfFileSystem

    with HfFileSystem().open(path, block_size=1 << 20) as blocks:
        blocks.seek(1000)
        part = blocks.read(5000)
    with HfFileSystem().open(path, block_size=0) as stream:
        whole = b""
        while len(whole) < size and (data := stream.read(min(1 << 18, size - len(whole)))):
            whole += data
    return {"part": hashlib.sha256(part).hexdigest(), "whole": hashlib.sha256(whole).hexdigest()}


def main() -> None:
    plan = json.loads(sys.argv[1])
    hub, repo, commit = plan["hub"], plan["repo"], plan["commit"]
    if plan["way"]:
        cut_off(hub, plan["way"])
    from huggingface_hub import HfApi, hf_hub_download, snapshot_download

    said: dict[str, Any] = {}

    def note(name: str, do: Callable[[], Any]) -> None:
        before = len(requests_at(hub))
        try:
            answer = do()
        except Exception as error:
            answer = type(error).__name__
        asked = requests_at(hub)[before:]
        said[name] = {
            "answer": answer,
            "asked": [f"{one['method']} {one['raw_path']}" for one in asked],
            "authorized": any(one["authorized"] for one in asked),
        }

    caches = [os.path.abspath(f"cache-{os.getpid()}-{number}") for number in range(2)]  # noqa: PTH100
    local = os.path.abspath(f"local-{os.getpid()}")  # noqa: PTH100
    note("branch", lambda: found_below(snapshot_download(repo, cache_dir=caches[0])))
    note("commit", lambda: found_below(snapshot_download(repo, revision=commit, cache_dir=caches[1])))
    note("local", lambda: found_below(snapshot_download(repo, revision=commit, local_dir=local, allow_patterns=["d1/*", "a.*"])))
    note("absent", lambda: hf_hub_download(repo, "no.such", revision=commit, cache_dir=caches[1]))
    note("tree", lambda: sorted(one.path for one in HfApi().list_repo_tree(repo, revision=commit, recursive=True)))
    note("paths", lambda: [one.path for one in HfApi().get_paths_info(repo, ["config.json", "no.such"], revision=commit)])
    if plan["size"]:
        note("stream", lambda: streamed(f"{repo}@{commit}/b.bin", plan["size"]))
    if plan["gated"]:
        note("gated", lambda: hf_hub_download(plan["gated"], "config.json", token="hf_of_the_user", cache_dir=caches[1]))
    said["no_exist"] = [path.name for path in Path(caches[1]).glob("*/.no_exist/*/*")]

    import llmpt

    llmpt.disable_p2p()
    if plan["gated"]:  # a Hub that fails would be asked again and again
        note("disabled", lambda: bool(hf_hub_download(repo, "config.json", cache_dir=caches[1])))
    from huggingface_hub.utils import _http

    said["left"] = [name for name, one in vars(_http).items() if type(one).__module__.startswith("llmpt.")]
    print(json.dumps(said))


if __name__ == "__main__":
    main()
