"""Whatever stands in a field of an answer: it becomes what it must be, or the whole is `TrackerUnavailable`. Never another
error, and never a name outside of its folder."""

from __future__ import annotations

import base64
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmpt.archive.folder import ExportFolder, Signed
from llmpt.archive.hub_cache import CachedRepo
from llmpt.core import merkle
from llmpt.core.blob import Etag
from llmpt.core.errors import TrackerError
from llmpt.core.metainfo import Metainfo
from llmpt.core.repo import RepoRef
from llmpt.tracker.catalogue import Catalogue, Manifest
from llmpt.tracker.client import TrackerClient
from llmpt.tracker.wire import Reply, Wire
from tests.support.rogue_tracker import changed, places

REF = RepoRef("model", "org/name")
COMMIT = "c" * 40
BLOB = Metainfo.from_leaves(Etag("e" * 64), 70_000, bytes(32) * merkle.leaf_count(70_000))
PLACE = {"repo_type": "model", "repo_id": "org/name", "commit": COMMIT, "path": "sub/model.bin"}
TORRENT = {
    "info_hash": str(BLOB.info_hash),
    "etag": str(BLOB.etag),
    "size": BLOB.size,
    "piece_length": BLOB.piece_length,
    "magnet": BLOB.magnet,
    "seeders": 1,
    "leechers": 2,
    "completed": 3,
    "appears_in": [PLACE],
}
LOOKUP = {**TORRENT, "metainfo": base64.b64encode(BLOB.encode()).decode(), "peers": [{"address": "10.0.0.7", "port": 6882}]}
PAGE = {"next": None, "boot_id": "b", "announce_port": 6969}
FILE = {"path": "sub/model.bin", "size": 70_000, "etag": "e" * 64, "lfs": True, "here": True}
REVISION = {"commit": COMMIT, "refs": ["main"], "complete": True, "files": 2, "size": 9, "files_here": 1, "size_here": 5}


class Said(Wire):
    """The way to a tracker that answers everything with one document."""

    def __init__(self, document: Any) -> None:
        super().__init__("http://tracker:8000")
        self._document = document

    def call(self, method: str, path: str, query: Mapping[str, str], body: Mapping[str, Any] | None = None, **_: Any) -> Reply:
        return Reply(self._document, "10.0.0.1", 100)


def client(document: Any) -> TrackerClient:
    made = TrackerClient("http://tracker:8000")
    made._wire = Said(document)
    return made


@dataclass(frozen=True)
class Question:
    """A question, a right answer to it, and what is asked of a client that gets one."""

    name: str
    answer: dict[str, Any]
    ask: Callable[[TrackerClient], object]


def manifest_of(one: TrackerClient) -> Manifest:
    return Catalogue(one).manifest(REF, "main")


QUESTIONS = [
    Question("torrents", {**PAGE, "torrents": [TORRENT]}, lambda one: list(one.torrents({}))),
    Question("get_torrents", {**PAGE, "torrents": [TORRENT]}, lambda one: one.get_torrents()),
    Question("lookup", {**PAGE, "torrents": [LOOKUP]}, lambda one: one.lookup(BLOB.etag)),
    Question("lookup_all", {**PAGE, "torrents": [LOOKUP]}, lambda one: one.lookup_all((BLOB.etag,), {})),
    Question("contact", {**PAGE, "torrents": []}, lambda one: one.contact()),
    Question("boot_id", {"status": "ok", "boot_id": "b", "version": "1"}, lambda one: one.boot_id()),
    Question("health", {"status": "ok", "boot_id": "b", "version": "1"}, lambda one: Catalogue(one).health()),
    Question("share_token", {"token": "llmpt_share_1", "scope": "share"}, lambda one: one.share_token("ann")),
    Question(
        "whoami",
        {"address": "10.0.0.7", "reachable": True, "version": "1", "protocol": 1, "oldest_client": "1"},
        lambda one: Catalogue(one).whoami(6882),
    ),
    Question(
        "repos",
        {"next": None, "repos": [{"repo_type": "model", "repo_id": "org/name", "revisions": [REVISION]}]},
        lambda one: Catalogue(one).repos(),
    ),
    Question("manifest", {"commit": COMMIT, "refs": ["main"], "complete": True, "files": [FILE]}, manifest_of),
]

NASTY = (
    "", ".", "..", "../x", "/etc/passwd", "a/../../b", "a//b", "a/./b", "a\\..\\b", "C:/x", "\0", "a\nb", "\x1b[2J", "\ud800",
    "\u202e", "a" * 300, "/".join(["a"] * 100), "refs/../x", "x.lock", "0.0.0.0.0", "fe80::1%eth0/../x", "magnet:?\n",
    "\u0663", "e" * 63, "E" * 64, "0x10", "1e3", "10.0.0.1\r\nHost: x", "b" * 100_000,
)  # fmt: skip
garbage = st.one_of(
    st.sampled_from(NASTY),
    st.text(st.characters(), max_size=20),
    st.none(),
    st.booleans(),
    st.sampled_from([-1, 0, 1 << 63, 10**400, 65536, float("nan"), float("inf"), 1.5]),
    st.integers(),
    st.recursive(st.none(), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner)),
)


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda one: one.name)
def test_a_right_answer_is_read(question: Question) -> None:
    assert question.ask(client(question.answer))


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda one: one.name)
@pytest.mark.timeout(60)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_garbage_in_any_field_is_an_error_of_our_tree_or_is_read(question: Question, data: st.DataObject) -> None:
    at = data.draw(st.sampled_from(list(places(question.answer))))
    document = changed(question.answer, at, data.draw(garbage | st.just(...)))
    try:
        question.ask(client(document))
    except TrackerError:
        return


@pytest.mark.timeout(60)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_no_manifest_writes_outside_of_its_folder(data: st.DataObject) -> None:
    answer = QUESTIONS[-1].answer
    at = data.draw(st.sampled_from(list(places(answer))))
    try:
        manifest = manifest_of(client(changed(answer, at, data.draw(garbage))))
    except TrackerError:
        return
    with tempfile.TemporaryDirectory() as outside:
        folder, cache = Path(outside) / "a" / "b" / "export", Path(outside) / "a" / "b" / "cache"
        export = ExportFolder.create(folder)
        export.write_manifest(Signed(manifest))
        (written,) = export.manifests()
        assert export.read(written).manifest.files == tuple(replace(file, here=False) for file in manifest.files)
        repo = CachedRepo(cache, manifest.ref)
        for file in manifest.files:
            repo.link(manifest.commit, file.path, file.etag)
        for ref in manifest.refs:
            repo.point(ref, manifest.commit)
        inside = [path for path in Path(outside).rglob("*") if not path.is_dir()]
        assert all(folder in path.parents or cache in path.parents for path in inside)
        for link in (path for path in inside if path.is_symlink()):
            assert cache / manifest.ref.folder / "blobs" == (link.parent / link.readlink()).parent.resolve()


@pytest.mark.parametrize(("size", "told"), [(100, "pages"), (1 << 20, "bytes")])
def test_a_list_without_end_is_no_list(size: int, told: str) -> None:
    class Endless(Said):
        asked = 0

        def call(self, *args: Any, **more: Any) -> Reply:
            self.asked += 1
            return Reply({**PAGE, "torrents": [], "next": str(self.asked)}, "10.0.0.1", size)

    made = client({})
    made._wire = Endless({})
    with pytest.raises(TrackerError, match=told):
        list(made.torrents({}))


def test_a_page_that_leads_to_itself_is_no_list() -> None:
    with pytest.raises(TrackerError, match="leads to itself"):
        list(client({**PAGE, "torrents": [], "next": "again"}).torrents({}))
    with pytest.raises(TrackerError, match="leads to itself"):
        client({"mirrors": [], "next": "again"}).mirrors()
