"""One machine's part of a download that several begin at the same moment, in a program that knows nothing of llmpt.

`together.py START REPO [FILE]` waits for the moment START (seconds since the epoch), downloads the repo or one file of it, and
prints a JSON object: `files`, path → SHA-256; `seconds`, how long it took; `bar`, the moments at which the bar of the one file
moved, each with the bytes that it then showed.
"""

from __future__ import annotations

import hashlib
import io
import json
import sys
import time
from pathlib import Path
from typing import Any

from huggingface_hub import hf_hub_download, snapshot_download
from huggingface_hub.utils import tqdm  # type: ignore[attr-defined,unused-ignore]

bar: list[tuple[float, int]] = []


class Recording(tqdm):  # type: ignore[misc,unused-ignore]
    """A bar that shows nothing and remembers everything."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.update(disable=False, file=io.StringIO())
        super().__init__(*args, **kwargs)  # type: ignore[no-untyped-call,unused-ignore]

    def update(self, n: float | None = 1) -> bool | None:
        done = super().update(n)
        bar.append((time.time(), int(self.n)))
        return bool(done)


def main(start: str, repo: str, file: str = "") -> None:
    time.sleep(max(0.0, float(start) - time.time()))
    began = time.monotonic()
    if file:
        folder = Path(hf_hub_download(repo, file, tqdm_class=Recording)).parent
    else:
        folder = Path(snapshot_download(repo))
    seconds = time.monotonic() - began
    found = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    digests = {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in found.items()}
    print(json.dumps({"files": digests, "seconds": seconds, "bar": bar}))


if __name__ == "__main__":
    main(*sys.argv[1:])
