"""A user who may write into the cache of another's workstation puts something else under the name of a blob."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmpt.core.blob import Etag
from llmpt.tracker.looked_up import Lookup
from tests.support.lan import BIG, Lan
from tests.support.machine import Machine
from tests.support.raw_peer import BLOCK, ask_for_block
from tests.support.waiting import eventually

SECRET = b"-----BEGIN OPENSSH PRIVATE KEY-----\n"
CONTENT = {name: os.urandom(BIG + 17) for name in ("moved", "restarted")}


@pytest.fixture(scope="module")
def lan(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lan]:
    with Lan(tmp_path_factory.mktemp("lan")) as lan:
        for name, content in CONTENT.items():
            lan.hub.add(f"org/{name}", {"model.bin": content})
            lan.mirror(f"org/{name}")
            lan.seeded(f"org/{name}")
        yield lan


@pytest.fixture(scope="module")
def ann(lan: Lan) -> Iterator[Machine]:
    with lan.machine("ann") as ann:
        for name in CONTENT:
            ann.download(f"org/{name}")
        yield ann


def blob_of(ann: Machine, name: str) -> Path:
    (blob,) = (ann.cache / f"models--org--{name}" / "blobs").iterdir()
    return blob


def swap(blob: Path, root: Path) -> None:
    """Put a link in its place, to a file of its size and time."""
    secret, facts = root / f"secret-{blob.name[:8]}", blob.stat()
    secret.write_bytes((SECRET * (facts.st_size // len(SECRET) + 1))[: facts.st_size])
    os.utime(secret, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    (blob.parent / "mine").symlink_to(secret)
    (blob.parent / "mine").replace(blob)


def given_by(lan: Lan, ann: Machine, name: str) -> tuple[Lookup, tuple[str, int]]:
    etag, port = Etag(blob_of(ann, name).name), ann.status()["port"]

    def found() -> tuple[Lookup, tuple[str, int]] | None:
        lookup = lan.catalogue.lookup(etag)
        peer = next((peer for peer in lookup.peers if peer[1] == port), None)
        return (lookup, peer) if peer else None

    return eventually(found, timeout_s=20, what="the workstation to announce the blob")


def test_a_workstation_gives_what_it_moved_to_its_cache_and_no_link_there(lan: Lan, ann: Machine) -> None:
    lookup, peer = given_by(lan, ann, "moved")
    assert lookup.metainfo is not None
    assert ask_for_block(peer, lookup.metainfo.info_hash.digest) == CONTENT["moved"][:BLOCK]
    swap(blob_of(ann, "moved"), ann.root)
    assert ask_for_block(peer, lookup.metainfo.info_hash.digest) in (None, CONTENT["moved"][:BLOCK])


def test_a_workstation_that_starts_anew_gives_no_link(lan: Lan, ann: Machine) -> None:
    lookup, _ = given_by(lan, ann, "restarted")
    assert lookup.metainfo is not None
    ann.stop_agent()
    swap(blob_of(ann, "restarted"), ann.root)
    ann.llmpt("agent", "start")
    eventually(lambda: ann.status().get("port"), what="the agent to be there")
    peer = ("127.0.0.1", ann.status()["port"])
    assert ask_for_block(peer, lookup.metainfo.info_hash.digest) is None
