"""Blobs of this machine that the catalogue may list: those of a repo in the Hub cache, or those under a path."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from llmpt.core.blob import READ_BYTES, Etag
from llmpt.core.errors import InvalidName, LlmptError
from llmpt.core.files import real_path
from llmpt.core.repo import RepoRef, check_commit, check_path
from llmpt.tracker.torrents import Torrent


@dataclass(frozen=True, slots=True)
class LocalBlob:
    """A file of this machine.

    `name`: the file as people know it.
    `path`: where its bytes lie.
    `etags`: the etags it may have, the likeliest first.
    """

    name: str
    path: Path
    etags: tuple[Etag, ...]


def of_repo(cache: Path, ref: RepoRef, torrents: Iterable[Torrent], *, min_bytes: int) -> Iterator[LocalBlob]:
    """Yield the files of at least `min_bytes` that the Hub cache at `cache` has of a repo.

    A file is named by its blob; where a cache has no links (`HF_HUB_DISABLE_SYMLINKS`) by what the catalogue says of
    its place, `torrents` being those of the repo. Raises `LlmptError` when the repo is not in the cache.
    """
    folder = cache / ref.folder
    if not (folder / "snapshots").is_dir():
        raise LlmptError(f"{ref} is not in the Hub cache at {cache}; `llmpt download {ref}` fetches it")
    listed = {
        (at.commit, at.path): one.etag
        for one in torrents
        for at in one.appears_in
        if (at.repo_type, at.repo_id) == (ref.type, ref.id)
    }
    seen: set[Path] = set()
    for file in sorted((folder / "snapshots").rglob("*")):
        if not file.is_file():
            continue
        path = real_path(file)
        if path in seen or path.stat().st_size < min_bytes:
            continue
        seen.add(path)
        commit, _, inside = file.relative_to(folder / "snapshots").as_posix().partition("/")
        etag = _named_by_link(file, folder) or _as_etag(listed.get((check_commit(commit), check_path(inside)), ""))
        yield LocalBlob(f"{ref}/{inside}", path, (etag,) if etag else ())


def under(path: Path, *, min_bytes: int) -> Iterator[LocalBlob]:
    """Yield the file at `path`, or the files of at least `min_bytes` under it; they are read to learn their etags.

    Raises `LlmptError` when there is no such file or folder, `OSError` when one cannot be read.
    """
    if not path.exists():
        raise LlmptError(f"{path} is neither a file here nor the name of a repo")
    files = [path] if path.is_file() else (one for one in sorted(path.rglob("*")) if one.is_file())
    seen: set[Path] = set()
    for file in files:
        real = real_path(file)
        if real in seen or (real.stat().st_size < min_bytes and real != real_path(path)):
            continue
        seen.add(real)
        named = _as_etag(real.name)
        yield LocalBlob(str(file), real, (named,) if named else etags_of(real))


def etags_of(path: Path) -> tuple[Etag, Etag]:
    """Read a file once; return the two etags that the Hub may have given its content: SHA-256, and git's SHA-1."""
    size = path.stat().st_size
    sha256, sha1 = hashlib.sha256(), hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
    with path.open("rb", buffering=0) as file:
        while data := file.read(READ_BYTES):
            sha256.update(data)
            sha1.update(data)
    return Etag(sha256.hexdigest()), Etag(sha1.hexdigest())


def _named_by_link(file: Path, folder: Path) -> Etag | None:
    """The first hop of a snapshot's link is the blob, whose name is the etag; it may itself be a link into a shared store."""
    if not file.is_symlink():
        return None
    target = file.parent / file.readlink()
    return _as_etag(target.name)


def _as_etag(name: str) -> Etag | None:
    try:
        return Etag(name)
    except InvalidName:
        return None
