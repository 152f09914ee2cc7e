"""A small library with the shape of huggingface_hub's, and an agent's link that does as told."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from llmpt.core.blob import Etag
from llmpt.hook import patch
from llmpt.hook.lan import Lan
from llmpt.link.answers import Done, Failed, Progress, Refused
from llmpt.link.client import FetchResult
from llmpt.link.requests import FetchBegun, FetchRequest, Landed
from llmpt.settings import ClientSettings
from llmpt.tracker.blobs import BlobHttp

Download = Callable[..., Path]
ETAG = "a" * 64
SIZE = 2 << 20

# Functions call each other by global name, as the library's do.
LIBRARY = """
import logging
from pathlib import Path

ENDPOINT = "https://hub.example"
DOWNLOAD_CHUNK_SIZE = 10 * 1024 * 1024
logger = logging.getLogger("huggingface_hub.file_download")
metadata = ("http://hub/f", ETAG, "c" * 40, SIZE, None, None)
asked, fetched, answer = [], [], None

class tqdm:
    def __init__(self, **looks): pass
    def __enter__(self): return self
    def __exit__(self, *_): pass
    def update(self, n): pass

def _get_metadata_or_catch_error(*, repo_id, filename, repo_type, revision, headers=None, endpoint=None):
    if headers is not None:
        headers.pop("authorization", None)  # as the library does when the file lies elsewhere
    return metadata

def _download_to_tmp_and_move(
    incomplete_path, destination_path, url_to_download, headers, expected_size, filename, force_download, etag
):
    if destination_path.exists() and not force_download:
        return
    fetched.append(sorted(path.name for path in incomplete_path.parent.iterdir()))
    if answer is not None:
        raise answer
    destination_path.write_bytes(b"from the hub")

def _chmod_and_move(src, dst):
    src.replace(dst)

def _hf_hub_download_to_cache_dir(
    *, cache_dir, repo_id, repo_type, revision, filename, force_download=False, headers=None, endpoint=None
):
    url, etag, commit, size, *_, error = _get_metadata_or_catch_error(
        repo_id=repo_id, filename=filename, repo_type=repo_type, revision=revision, headers=headers, endpoint=endpoint
    )
    blob = Path(cache_dir) / etag
    _download_to_tmp_and_move(
        incomplete_path=Path(str(blob) + ".incomplete"), destination_path=blob, url_to_download=url, headers={},
        expected_size=size, filename=filename, force_download=force_download, etag=etag,
    )
    return str(blob)

def _hf_hub_download_to_local_dir(*, cache_dir, repo_id, repo_type, revision, filename, force_download=False):
    path = _hf_hub_download_to_cache_dir(cache_dir=cache_dir, repo_id=repo_id, repo_type=repo_type, revision=revision,
                                         filename=filename, force_download=force_download)
    return path or (_get_metadata_or_catch_error, _download_to_tmp_and_move)
"""


class Agent:
    """Stands in for `AgentClient`, as told."""

    def __init__(self) -> None:
        self.fetches: list[FetchRequest] = []
        self.told: list[tuple[Etag, Path, str]] = []
        self.fetched: list[tuple[Etag, Path, list[Path]]] = []
        self.watching: list[Path] = []
        self.watches = True
        self.min_blob_bytes = 1 << 20
        self.answer: Callable[[FetchRequest, Callable[[Progress], None]], FetchResult] = self.serve

    def fetch(self, request: FetchRequest, *, on_progress: Callable[[Progress], None]) -> FetchResult:
        self.fetches.append(request)
        return self.answer(request, on_progress)

    def fetching(self, message: FetchBegun, *, until: ExitStack) -> bool:
        self.watching.append(message.stem)
        until.callback(self.watching.remove, message.stem)
        return self.watches

    def landed(self, message: Landed) -> None:
        self.told.append((message.etag, message.path, message.tracker))
        if message.fetched:
            self.fetched.append((message.etag, message.path, list(self.watching)))

    def serve(self, request: FetchRequest, on_progress: Callable[[Progress], None]) -> FetchResult:
        os.truncate(request.path, request.size)
        request.path.replace(request.destination)
        return Done(moved=True, bytes_from_lan=request.size, peers=1)

    def refuse(self, request: FetchRequest, on_progress: Callable[[Progress], None]) -> FetchResult:
        return Refused("nobody has it")

    def break_off(self, request: FetchRequest, on_progress: Callable[[Progress], None]) -> FetchResult:
        request.path.write_bytes(b"some")
        on_progress(Progress(4, 1, 1))
        return Failed("gone")


def install(library: Any, agent: Any, **settings: str) -> None:
    """Put the hook in place for `library`, with `agent` in the place of the machine's."""

    def connect(settings: ClientSettings) -> Lan:
        return Lan(str(settings.tracker), agent, BlobHttp(str(settings.tracker), stall_timeout_s=1))

    assert patch.install(library, settings=ClientSettings.read(settings), connect=connect)


def serve_in_place(request: FetchRequest, on_progress: Callable[[Progress], None]) -> FetchResult:
    os.truncate(request.path, request.size)
    return Done(moved=False, peers=1)
