"""The seeder, as a process, among real faults: a full disk, a mount that fails or is another one, a damaged state, a Hub that
breaks off, a clock that is set."""

from __future__ import annotations

import hashlib
import html
import os
import shutil
import socketserver
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.lan import Lan
from tests.support.seeder import SeederProcess
from tests.support.shims import CLOCK_THAT_IS_SET, FAILING_MOUNT, shim
from tests.support.small_disk import small_disk
from tests.support.waiting import eventually

MIB = 1 << 20


@pytest.fixture(scope="module")
def lan(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lan]:
    """A LAN of which the seeder is stopped: each test starts one of its own, over this cache."""
    with Lan(tmp_path_factory.mktemp("lan") / "lan", LLMPT_REPOS="*") as running:
        running.seeder.stop()
        yield running


def seeder(lan: Lan, data: Path, **settings: str) -> SeederProcess:
    data.mkdir(exist_ok=True)
    token = {"LLMPT_TOKEN": lan.tracker.token, "LLMPT_REPOS": "*", "LLMPT_SCAN_INTERVAL": "0.2"}
    return SeederProcess(data, lan.cache, tracker=lan.tracker.url, hub=lan.hub.url, **{**token, **settings})


def add(lan: Lan, repo: str, *names: str) -> Path:
    lan.hub.add(repo, {name: os.urandom(MIB) for name in names or ("model.safetensors",)})
    return lan.mirror(repo)


def content_of_etag(begins: str) -> bytes:
    """Return a content whose etag begins so."""
    while not hashlib.sha256(content := os.urandom(MIB)).hexdigest().startswith(begins):
        pass
    return content


def page(lan: Lan) -> str:
    with urllib.request.urlopen(f"{lan.tracker.url}/servers", timeout=10) as answer:
        return html.unescape(str(answer.read(), "utf-8"))


def test_a_full_state_disk_costs_what_is_new_until_there_is_room(lan: Lan, tmp_path: Path) -> None:
    add(lan, "full/before")
    with small_disk(tmp_path / "disk") as disk:
        with seeder(lan, disk.root / "data", LLMPT_UPSTREAM=lan.hub.url):
            lan.seeded("full/before")
        shutil.rmtree(disk.root / "data" / "mirror")
        disk.fill()
        with seeder(lan, disk.root / "data", LLMPT_UPSTREAM=lan.hub.url) as again:
            lan.seeded("full/before")
            add(lan, "full/meanwhile")
            eventually(lambda: "shared as soon as it can be" in page(lan), timeout_s=20, what="the problem on the page")
            assert again.running
            assert not lan.torrents("full/meanwhile")
            disk.free()
            lan.seeded("full/meanwhile")
        assert again.stop() == 0


def test_a_mount_that_fails_for_single_files_costs_those_only(lan: Lan, tmp_path: Path) -> None:
    whole = ("mount/eio-open", "mount/estale-stat", "mount/stale", "mount/eacces-readdir")
    for repo in whole:
        add(lan, repo)
    lan.hub.add("mount/eio-read", {f"{begins}.safetensors": content_of_etag(begins) for begins in "01"})
    lan.mirror("mount/eio-read")
    add(lan, "mount/well")
    preload = shim(FAILING_MOUNT, tmp_path)
    with seeder(lan, tmp_path / "data", LD_PRELOAD=preload, LLMPT_TEST_FAILS=f"{lan.cache}/models--mount--") as failing:
        lan.seeded("mount/well")
        assert failing.running
        eventually(lambda: len(lan.torrents("mount/eio-read")) == 1, timeout_s=20, what="the file beside the one that fails")
        eventually(lambda: "cannot be read" in page(lan), timeout_s=20, what="the problem on the page")
    with seeder(lan, tmp_path / "data"):
        for repo in (*whole, "mount/eio-read"):
            lan.seeded(repo)


def test_a_cache_that_cannot_be_looked_at_is_waited_for(lan: Lan, tmp_path: Path) -> None:
    add(lan, "later/model")
    preload = shim(FAILING_MOUNT, tmp_path)
    with seeder(lan, tmp_path / "data", LD_PRELOAD=preload, LLMPT_TEST_FAILS=str(lan.cache)) as failing:
        eventually(lambda: "no Hub cache can be read" in page(lan), timeout_s=20, what="the problem on the page")
        assert failing.running


@pytest.mark.parametrize(
    ("named", "is_said"), [("..", "set HF_HUB_CACHE to {cache}, "), ("a repo", "the folder above it ({cache})")]
)
def test_a_cache_that_is_another_folder_is_said_once_with_what_to_name(
    lan: Lan, tmp_path: Path, named: str, is_said: str
) -> None:
    home = tmp_path / "huggingface"
    shutil.copytree(add(lan, "mounted/model"), home / "hub" / "models--mounted--model", symlinks=True)
    wrong = home if named == ".." else home / "hub" / "models--mounted--model"
    words = is_said.format(cache=home / "hub")
    with seeder(lan, tmp_path / "data", HF_HUB_CACHE=str(wrong)) as running:
        eventually(lambda: words in page(lan), timeout_s=20, what="the problem on the page")
        assert running.log.read_text().count(words) == 1
        assert running.running


DAYS = 2 * 86400


def test_a_hub_is_asked_again_when_the_clock_was_set_back_from_the_future(lan: Lan, tmp_path: Path) -> None:
    add(lan, "clock/model")
    known = lan.hub.repos.pop(("model", "clock/model"))  # the Hub does not have it yet
    clock = tmp_path / "clock"
    clock.write_text(f"{DAYS}")
    settings = {"LD_PRELOAD": shim(CLOCK_THAT_IS_SET, tmp_path), "LLMPT_TEST_CLOCK": str(clock), "LLMPT_REPOS": ""}
    with seeder(lan, tmp_path / "data", **settings) as running:
        eventually(lambda: "clock/model: not shared" in running.log.read_text(), timeout_s=20, what="the Hub's no")
        lan.hub.repos["model", "clock/model"] = known
        clock.write_text("0")
        lan.seeded("clock/model")


@pytest.mark.parametrize("state", ["garbage", "a folder"])
def test_a_state_that_is_damaged_is_made_anew(lan: Lan, tmp_path: Path, state: str) -> None:
    add(lan, "state/model")
    data = tmp_path / "data"
    data.mkdir()
    if state == "garbage":
        (data / "seeder.db").write_bytes(os.urandom(50_000))
    else:
        (data / "seeder.db").mkdir()
    with seeder(lan, data) as running:
        lan.seeded("state/model")
        eventually(lambda: "set aside as" in page(lan), timeout_s=15, what="the problem on the page, with a heartbeat")
        assert (data / "seeder.db.bad").exists()
        assert "Traceback" not in running.log.read_text()


class _Broken(socketserver.StreamRequestHandler):
    """A Hub that breaks off in the middle of a chunk."""

    def handle(self) -> None:
        while self.rfile.readline().strip():
            pass
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n1000\r\n[{")


@contextmanager
def hub_that_breaks_off() -> Iterator[str]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Broken) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_a_hub_that_breaks_off_in_the_middle_of_a_chunk_costs_its_listing_only(lan: Lan, tmp_path: Path) -> None:
    add(lan, "hub/model")
    with hub_that_breaks_off() as url, seeder(lan, tmp_path / "data", HF_ENDPOINT=url) as running:
        lan.seeded("hub/model")
        assert running.running
        assert "Traceback" not in running.log.read_text()
