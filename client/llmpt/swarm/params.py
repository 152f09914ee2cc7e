"""How a blob is put into the session: in place and never written to, or into a file that it fills."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import libtorrent as lt

from llmpt.core.blob import Etag
from llmpt.swarm.types import SeededBlob, Source

_FLAGS = lt.torrent_flags
_PRIVATE = _FLAGS.apply_ip_filter | _FLAGS.disable_dht | _FLAGS.disable_lsd | _FLAGS.disable_pex
_IN_PLACE = _FLAGS.no_verify_files | _FLAGS.upload_mode | _PRIVATE


def in_place(blob: SeededBlob, path: Path) -> Any:
    """Seed the file that `path` leads to without reading, without piece layers, and without ever writing."""
    params: Any = lt.load_torrent_buffer(b"d4:info" + blob.info + b"12:piece layersdee")
    params.save_path = native(path.parent)
    params.renamed_files = {0: native(path)}
    params.have_pieces = [True] * params.ti.num_pieces()
    params.flags = _IN_PLACE
    return params


def into_file(source: Source, path: Path, *, resume: bool) -> Any:
    """Download into the file at `path`; with `resume` what it holds is checked first."""
    params: Any = lt.load_torrent_buffer(source.metainfo.encode())
    params.save_path = native(path.parent)
    params.renamed_files = {0: native(path)}
    params.flags = _PRIVATE if resume else _PRIVATE | _FLAGS.no_verify_files
    params.peers = list(source.peers)
    params.url_seeds = [web_seed_of(source.metainfo.etag, source.web_seed)] if source.web_seed else []
    return params


def native(path: Path) -> str | bytes:
    """Return a path as libtorrent takes it: it refuses a text that is no UTF-8, and warns of some bytes."""
    name = os.fsencode(path)
    try:
        return name.decode()
    except UnicodeDecodeError:
        return name


def web_seed_of(etag: Etag, url: str) -> str:
    """Write the URL of a blob (…/<etag>) as libtorrent wants it: without the name at its end, which it appends by itself.

    With a name it would ask for …/<etag>/<etag> when the size is no multiple of the piece length: in v2 such a torrent has
    a second, padding file in its eyes.
    """
    return url.removesuffix(etag.value)


def names_of(flags: Any) -> frozenset[str]:
    """Return libtorrent's own names of a torrent's flags."""
    return frozenset(name for name in dir(_FLAGS) if not name.startswith("_") and flags & getattr(_FLAGS, name))
