"""A user who may write into the shared cache puts something else under the name of a blob, and asks for it."""

from __future__ import annotations

import os
import shutil
import socket
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from llmpt.core.blob import Etag
from llmpt.core.metainfo import Metainfo
from llmpt.core.networks import CidrSet
from llmpt.disk.torrents import read_torrent
from llmpt.swarm import Engine, EngineSettings, SeededBlob, Source
from llmpt.tracker.client import TrackerClient
from tests.support.cache_builder import CacheBuilder, RepoBuilder, lfs_sha256
from tests.support.hub import FakeHub
from tests.support.raw_peer import BLOCK, ask_for_block
from tests.support.seeder import SeederProcess
from tests.support.tracker import TrackerProcess
from tests.support.waiting import eventually

SIZE = (1 << 20) + 17
SECRET = b"-----BEGIN OPENSSH PRIVATE KEY-----\n"
LOOPBACK = CidrSet.parse("127.0.0.0/8")


class Shared:
    """A cache of many, and a server that seeds it. It looks once in a minute, so that each swap comes between two looks."""

    def __init__(self, root: Path, tracker: TrackerProcess) -> None:
        self.root, self.tracker = root, tracker
        self.cache = CacheBuilder(root / "hub")
        self.secret = root / "id_ed25519"
        self.secret.write_bytes((SECRET * (SIZE // len(SECRET) + 1))[:SIZE])
        self.secret.chmod(0o600)
        self.content = {name: os.urandom(SIZE) for name in SWAPS}
        for name, content in self.content.items():
            self.cache.repo(f"org/{name}").commit({"model.bin": content}, lfs={"model.bin"})

    def repo(self, name: str) -> RepoBuilder:
        return self.cache.repo(f"org/{name}")

    def etag(self, name: str) -> str:
        return lfs_sha256(self.content[name])

    def blob(self, name: str) -> Path:
        return self.repo(name).blob_path(self.etag(name))

    def found(self, name: str) -> tuple[Metainfo, tuple[tuple[str, int], ...]] | None:
        lookup = TrackerClient(self.tracker.url).lookup(Etag(self.etag(name)))
        return (lookup.metainfo, lookup.peers) if lookup.metainfo is not None and lookup.peers else None

    def over_http(self, name: str) -> bytes:
        """What a server gives as the blob, right or wrong."""
        try:
            with urllib.request.urlopen(f"{self.tracker.url}/blobs/{self.etag(name)}", timeout=5) as answer:
                return bytes(answer.read())
        except urllib.error.HTTPError:
            return b""


def by_link(shared: Shared, blob: Path) -> None:
    (blob.parent / "mine").symlink_to(shared.secret)
    (blob.parent / "mine").replace(blob)


def by_hard_link(shared: Shared, blob: Path) -> None:
    os.link(shared.secret, blob.parent / "mine")
    (blob.parent / "mine").replace(blob)


def by_folder(shared: Shared, blob: Path) -> None:
    """Another folder under the name of the one with the blobs."""
    other = shared.root / f"other-{blob.name[:8]}"
    other.mkdir()
    (other / blob.name).symlink_to(shared.secret)
    blob.parent.rename(blob.parent.with_name("before"))
    blob.parent.symlink_to(other)


def by_repo(shared: Shared, blob: Path) -> None:
    """Another folder under the name of the repo's."""
    other, repo = shared.root / f"repo-{blob.name[:8]}", blob.parents[1]
    (other / "blobs").mkdir(parents=True)
    shutil.copyfile(shared.secret, other / "blobs" / blob.name)
    repo.rename(repo.with_name(f"before-{blob.name[:8]}"))
    repo.symlink_to(other)


def by_pipe(_shared: Shared, blob: Path) -> None:
    os.mkfifo(blob.parent / "mine")
    (blob.parent / "mine").replace(blob)


def by_socket(_shared: Shared, blob: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        here = Path.cwd()
        os.chdir(blob.parent)  # the path of a socket is short
        listener.bind("mine")
        os.chdir(here)
    (blob.parent / "mine").replace(blob)


SWAPS: dict[str, Callable[[Shared, Path], None]] = {
    way.__name__: way for way in (by_link, by_hard_link, by_folder, by_repo, by_pipe, by_socket)
}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    root = tmp_path_factory.mktemp("shared")
    with TrackerProcess(root / "data") as tracker, FakeHub() as hub:
        shared = Shared(root, tracker)
        settings = {"LLMPT_REPOS": "*", "LLMPT_SCAN_INTERVAL": "600"}
        with SeederProcess(root / "data", shared.cache.root, tracker=tracker.url, hub=hub.url, **settings):
            yield shared


@pytest.fixture
def leecher() -> Iterator[Engine]:
    with Engine(EngineSettings(("127.0.0.1",), 0, LOOPBACK)) as engine:
        yield engine


@pytest.mark.parametrize("name", SWAPS)
def test_what_is_put_in_the_place_of_a_blob_is_given_to_nobody(
    shared: Shared, leecher: Engine, name: str, tmp_path: Path
) -> None:
    metainfo, peers = eventually(lambda: shared.found(name), timeout_s=30, what="the blob to be seeded")
    facts = shared.blob(name).stat()
    os.utime(shared.secret, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    SWAPS[name](shared, shared.blob(name))
    assert ask_for_block(peers[0], metainfo.info_hash.digest) in (None, shared.content[name][:BLOCK])
    assert SECRET not in shared.over_http(name)
    (tmp_path / "out").touch()
    download = leecher.downloads.begin(Source(metainfo, peers), tmp_path / "out", resume=False)
    eventually(lambda: download.state != "running", what="the blob, which was opened before")
    assert (tmp_path / "out").read_bytes() == shared.content[name]


def test_a_swap_between_the_look_and_the_opening_gives_nothing_away(tmp_path: Path) -> None:
    """What was verified is gone when the file is opened: a file of the same size, and of the same time, has taken its place."""
    content, secret, other = os.urandom(SIZE), tmp_path / "secret", tmp_path / "other"
    blob = tmp_path / lfs_sha256(content)
    secret.write_bytes((SECRET * (SIZE // len(SECRET) + 1))[:SIZE])
    blob.write_bytes(content)
    metainfo, stamp = read_torrent(blob)
    while secret.stat().st_ctime_ns == blob.stat().st_ctime_ns or secret.stat().st_mtime_ns != blob.stat().st_mtime_ns:
        os.utime(secret, ns=(blob.stat().st_atime_ns, blob.stat().st_mtime_ns))  # not in the very tick in which the blob was made
    with Engine(EngineSettings(("127.0.0.1",), 0, LOOPBACK, downloads=False)) as engine:

        def sent() -> bytes | None:
            engine.seed(SeededBlob(metainfo.etag, metainfo.size, metainfo.root, blob, stamp))
            try:
                return ask_for_block(("127.0.0.1", engine.port), metainfo.info_hash.digest)
            finally:
                engine.withdraw(metainfo.etag)

        eventually(lambda: sent() == content[:BLOCK], what="the blob itself")
        for swap in (partial(other.symlink_to, secret), partial(os.link, secret, other)):
            swap()
            other.replace(blob)
            assert sent() is None
