"""Every way in which a program downloads with huggingface_hub, one after the other, in one program that knows nothing of llmpt.

Run by the Python of an environment, in a machine's environment. It is given a plan, way → [repo, a big file in it], and prints
a JSON object, way → {file: where it lies}; for `bars`, which must come last since it switches llmpt off, what they showed at
the end, beside those of the library alone.
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llmpt

llmpt.is_enabled()  # it was on from the start of this Python: nothing else here switches it on

import huggingface_hub.file_download as library  # noqa: E402
from huggingface_hub import hf_hub_download, snapshot_download  # noqa: E402

bars: list[Any] = []


def cache(repo: str, file: str) -> dict[str, str]:
    return {file: hf_hub_download(repo, file)}


def local_dir(repo: str, file: str) -> dict[str, str]:
    return {file: hf_hub_download(repo, file, local_dir="here")}


def patterns(repo: str, file: str) -> dict[str, str]:
    return _files(snapshot_download(repo, allow_patterns=[f"*{Path(file).suffix}", "*.json"], ignore_patterns="b.*"))


def force_download(repo: str, file: str) -> dict[str, str]:
    Path(hf_hub_download(repo, file)).resolve().write_bytes(b"damaged")
    return {file: hf_hub_download(repo, file, force_download=True)}


def cli(repo: str, file: str) -> dict[str, str]:
    programs = (Path(sys.executable).with_name(name) for name in ("hf", "huggingface-cli"))
    program = next(path for path in programs if path.exists())
    subprocess.run([str(program), "download", repo, "--local-dir", "by-cli"], check=True, stdout=subprocess.DEVNULL)
    return {file: f"by-cli/{file}"}


def bars_at_the_end(repo: str, file: str) -> dict[str, Any]:
    """Download from the LAN and, without us, from the Hub: the bars of both."""
    _record_bars()
    with_us = _bars_of(repo, file, "with")
    llmpt.disable_p2p()
    return {"with us": with_us, "without us": _bars_of(repo, file, "without")}


WAYS: dict[str, Callable[[str, str], dict[str, Any]]] = {
    "cache": cache,
    "local_dir": local_dir,
    "patterns": patterns,
    "force_download": force_download,
    "cli": cli,
    "bars": bars_at_the_end,
}


def _files(folder: str) -> dict[str, str]:
    return {str(path.relative_to(folder)): str(path) for path in Path(folder).rglob("*") if path.is_file()}


def _record_bars() -> None:
    """Switch bars on though there is no terminal, and remember them."""
    module = sys.modules["huggingface_hub.utils.tqdm"]

    class Recording(module.tqdm):  # type: ignore[name-defined,misc]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            kwargs.update(disable=False, file=io.StringIO())
            super().__init__(*args, **kwargs)
            bars.append(self)

    module.tqdm = library.tqdm = Recording  # type: ignore[attr-defined]


def _bars_of(repo: str, file: str, where: str) -> list[list[int]]:
    bars.clear()
    snapshot_download(repo, cache_dir=where, tqdm_class=library.tqdm)  # type: ignore[attr-defined]
    shown = sorted([bar.n, bar.total] for bar in bars)
    bars.clear()
    hf_hub_download(repo, file, cache_dir=f"{where}-once-more")  # a bar of the library's own making
    return [*shown, *([bar.n, bar.total] for bar in bars)]


def main(plan: dict[str, tuple[str, str]]) -> None:
    print(json.dumps({way: WAYS[way](repo, file) for way, (repo, file) in plan.items()}))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
