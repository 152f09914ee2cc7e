"""Every way in which a program downloads with huggingface_hub, one after the other, in one program that knows nothing of llmpt.

Run by the Python of an environment, in a machine's environment. Each way has a repo of its own, `matrix/<way>`; printed is a
JSON object, way → {file: where it lies}, and for `bars` what they showed at the end, beside those of the library alone.
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


def cache() -> dict[str, str]:
    return {"model.safetensors": hf_hub_download("matrix/cache", "model.safetensors")}


def local_dir() -> dict[str, str]:
    return {"deep/model.safetensors": hf_hub_download("matrix/local_dir", "deep/model.safetensors", local_dir="here")}


def patterns() -> dict[str, str]:
    return _files(snapshot_download("matrix/patterns", allow_patterns=["*.safetensors", "*.json"], ignore_patterns="b.*"))


def force_download() -> dict[str, str]:
    first = hf_hub_download("matrix/force_download", "model.safetensors")
    Path(first).resolve().write_bytes(b"damaged")
    return {"model.safetensors": hf_hub_download("matrix/force_download", "model.safetensors", force_download=True)}


def cli() -> dict[str, str]:
    programs = (Path(sys.executable).with_name(name) for name in ("hf", "huggingface-cli"))
    program = next(path for path in programs if path.exists())
    subprocess.run([str(program), "download", "matrix/cli", "--local-dir", "by-cli"], check=True, stdout=subprocess.DEVNULL)
    return {"model.safetensors": "by-cli/model.safetensors"}


def bars_at_the_end() -> dict[str, Any]:
    """The same content from the LAN and, without us, from the Hub: the bars of both."""
    _record_bars()
    with_us = _bars_of("matrix/bars")
    llmpt.disable_p2p()
    without_us = _bars_of("matrix/bars_without_us")
    return {"with us": with_us, "without us": without_us}


WAYS: dict[str, Callable[[], dict[str, Any]]] = {
    "cache": cache,
    "local_dir": local_dir,
    "patterns": patterns,
    "force_download": force_download,
    "cli": cli,
    "bars": bars_at_the_end,  # last: it switches llmpt off
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


def _bars_of(repo: str) -> list[list[int]]:
    bars.clear()
    snapshot_download(repo, tqdm_class=library.tqdm)  # type: ignore[attr-defined]
    shown = sorted([bar.n, bar.total] for bar in bars)
    bars.clear()
    hf_hub_download(repo, "b.safetensors", cache_dir="elsewhere")  # a bar of the library's own making
    return [*shown, *([bar.n, bar.total] for bar in bars)]


def main() -> None:
    print(json.dumps({way: run() for way, run in WAYS.items()}))


if __name__ == "__main__":
    main()
