"""The catalogue and the cache, brought in line again by real processes: what one has lost, the other mends."""

from __future__ import annotations

import os
import shutil
import urllib.request

from llmpt.tracker.catalogue import Catalogue
from tests.support.lan import BIG, Lan
from tests.support.waiting import eventually

DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def listed(lan: Lan) -> set[str]:
    return {str(repo.ref.id) for repo in Catalogue(lan.catalogue).repos("")}


def said(lan: Lan, path: str) -> str:
    with DIRECT.open(lan.tracker.url + path, timeout=5) as answer:
        return str(answer.read().decode())


def test_what_is_deleted_from_the_cache_is_listed_no_longer(lan: Lan) -> None:
    lan.hub.add("org/kept", {"model.bin": os.urandom(BIG), "other.bin": os.urandom(BIG)})
    lan.hub.add("org/deleted", {"model.bin": os.urandom(BIG), "config.json": b"{}"})
    kept, deleted = lan.mirror("org/kept"), lan.mirror("org/deleted")
    lan.seeded("org/kept")
    lan.seeded("org/deleted")
    eventually(lambda: listed(lan) >= {"org/kept", "org/deleted"}, what="both repos")
    shutil.rmtree(deleted)
    (kept / "blobs" / lan.hub.file("org/kept", "other.bin").etag).unlink()
    eventually(lambda: "org/deleted" not in listed(lan), what="the repo to be withdrawn")
    assert "org/deleted" not in said(lan, "/")
    assert "org/deleted" not in said(lan, "/api/models")
    eventually(lambda: ">1 of 2<" in said(lan, "/") or ">1<" in said(lan, "/"), what="the file to be withdrawn")
    assert [torrent.etag for torrent in lan.torrents("org/kept")] == [lan.hub.file("org/kept", "model.bin").etag]
