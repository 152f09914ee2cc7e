"""How often a machine asks the tracker for the files of a repo: once, and right all the same."""

from __future__ import annotations

import os
from pathlib import Path

from llmpt.core.repo import Commit, RepoCommit, RepoRef
from llmpt.tracker.client import TrackerClient
from llmpt.tracker.lookups import Lookups
from tests.bench.storm import announce
from tests.support.lan import BIG, Lan
from tests.support.machine import Machine
from tests.support.relay import Relay
from tests.support.tracker import TrackerProcess
from tests.support.waiting import eventually
from tests.unit.tracker.bodies import COMMIT, big, elsewhere, manifest, packed, torrent

ONE_BY_ONE = """
from huggingface_hub import hf_hub_download
for number in range({count}):
    hf_hub_download({repo!r}, f"{{number:02}}.bin")
"""
LOOK_UP = "POST /api/v1/lookup"
OF = RepoCommit(RepoRef("model", "org/name"), Commit(COMMIT))


def test_a_snapshot_of_thirty_files_is_one_look_up(lan: Lan, repo: str) -> None:
    wanted = {f"{number:02}.bin": os.urandom(BIG) for number in range(30)} | {"config.json": b"{}"}
    lan.hub.add(repo, wanted)
    lan.mirror(repo)
    lan.seeded(repo)
    with Relay((lan.tracker.host, lan.tracker.http_port)) as way:
        tracker = f"http://127.0.0.1:{way.port}"
        with Machine("ann", tracker=tracker, hub=lan.hub.url) as ann, Machine("bob", tracker=tracker, hub=lan.hub.url) as bob:
            folder = ann.download(repo)
            assert {name: (folder / name).read_bytes() for name in wanted} == wanted
            assert way.asked.count(LOOK_UP) == 1
            bob.script(ONE_BY_ONE.format(repo=repo, count=8))
            assert way.asked.count(LOOK_UP) == 2, "programs that load file by file, too"
    assert {lan.hub.gets(name) for name in wanted if name != "config.json"} == {0}


def test_a_file_that_comes_to_the_lan_after_the_look_up_is_found(tmp_path: Path) -> None:
    files = [torrent(f"{number}") for number in range(4)]
    with TrackerProcess(tmp_path / "data") as tracker:
        client = TrackerClient(tracker.url, token=tracker.token)
        client.publish({"torrents": packed(*files[:3])})
        lines = [big(f"{number}.bin", meta) for number, meta in enumerate(files)]
        client.publish(manifest(*lines[:3], elsewhere(lines[3])))
        for meta in files[:2]:
            eventually(lambda meta=meta: announce(tracker, meta), what="the tracker to take it")  # type: ignore[misc]
        lookups = Lookups(client)
        assert lookups.ask(files[0].etag, OF).peers
        told = lookups.told(files[1].etag)
        assert told is not None
        assert told.peers
        assert [lookups.told(meta.etag) for meta in files] == [None] * 4, "what nobody has is not told beside, and nothing twice"
        client.publish({"torrents": packed(files[3])})
        for meta in files[2:]:
            eventually(lambda meta=meta: announce(tracker, meta), what="the tracker to take it")  # type: ignore[misc]
            assert lookups.ask(meta.etag, OF).peers
