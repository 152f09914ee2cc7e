"""Bytes over HTTP with the real roles: the tracker sends a client to a seeder that has the blob, and to the next when it dies."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.support.lan import Lan
from tests.support.machine import Machine
from tests.support.seeder import SeederProcess
from tests.support.waiting import eventually

REPO = "org/model"
SIZE = (8 << 20) + 17  # not a multiple of the piece length, as nearly no file is
FILES = {"model.bin": random.Random(1).randbytes(SIZE), "config.json": b'{"a": 1}', "empty.txt": b""}
PLACES, PER_ADDRESS = 1024, 256  # of a seeder's clients over HTTP, as `BlobLimits` has them
AT_ONCE_S = 5.0  # to the next seeder, after one has died


class TwoSeeders(Lan):
    """A tracker and two seeders of the same cache, which give 6 MiB/s each: time enough to pull plugs."""

    SPEED = "6M"

    def __init__(self, root: Path) -> None:
        super().__init__(root, LLMPT_UPLOAD_LIMIT=self.SPEED)
        self.hub.add(REPO, FILES)
        self.mirror(REPO)

    def __enter__(self) -> TwoSeeders:
        super().__enter__()
        told = {"LLMPT_TOKEN": self.tracker.token, "LLMPT_UPLOAD_LIMIT": self.SPEED}
        self.other = SeederProcess(self.root / "other", self.cache, tracker=self.tracker.url, hub=self.hub.url, **told)
        self._stack.enter_context(self.other)
        self.seeded(REPO)
        return self

    def url(self, path: str) -> str:
        return f"{self.tracker.url}/blobs/{self.hub.file(REPO, path).etag}"

    def ports(self, path: str = "model.bin", *, tries: int = 20) -> set[int]:
        """Return the ports of those to whom the tracker sends for a file."""
        found = [where(self.url(path)) for _ in range(tries)]
        return {int(urlsplit(url).port or 0) for url in found if url}

    def seeder_at(self, port: int) -> SeederProcess:
        return next(one for one in (self.seeder, self.other) if f"HTTP on port {port}," in one.log.read_text())


@pytest.fixture(scope="module")
def shared_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwoSeeders]:
    with TwoSeeders(tmp_path_factory.mktemp("lan") / "lan") as running:
        yield running


@pytest.fixture
def site(shared_site: TwoSeeders) -> TwoSeeders:
    """The LAN with both seeders at hand, whatever the last test did to them."""
    for seeder in (shared_site.seeder, shared_site.other):
        if not seeder.running:
            seeder.start()
    eventually(lambda: len(shared_site.ports()) == 2, timeout_s=30, what="two seeders that have the file")
    return shared_site


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


def where(url: str) -> str | None:
    """Return where the tracker sends whoever asks for `url`; None when nobody has it, or those who may are busy."""
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.build_opener(_NoRedirect).open(url, timeout=10)
    with caught.value as answer:
        assert answer.code in (302, 404, 503), answer
        return answer.headers["Location"]


def get(url: str, *, timeout_s: float = 20, **fields: str) -> tuple[int, bytes]:
    request = urllib.request.Request(url, headers=fields)
    with urllib.request.urlopen(request, timeout=timeout_s) as answer:
        return answer.status, answer.read()


def comes(url: str) -> bool:
    try:
        return get(url, timeout_s=2)[0] == 200
    except OSError:
        return False


def curl(url: str, target: Path, *options: str) -> subprocess.Popen[bytes]:
    command = ["curl", "--silent", "--show-error", "--fail", "--location", "--output", str(target), *options, url]
    return subprocess.Popen(command, stderr=subprocess.DEVNULL)


def begin(site: TwoSeeders, target: Path) -> tuple[subprocess.Popen[bytes], SeederProcess]:
    """Start curl; return it in the middle of the file, and the seeder that serves it."""
    for _ in range(5):  # on a busy machine the whole may have come before it is looked for
        downloading = curl(site.url("model.bin"), target)
        eventually(lambda: target.exists() and target.stat().st_size > 1 << 20, what="the first bytes")
        for one in (site.seeder, site.other):
            if connections(one.pid, downloading.pid):
                return downloading, one
        downloading.wait(30)
        target.unlink()
    raise AssertionError("no download was seen on its way")


def connections(server: int, client: int) -> set[int]:
    """Return the ports at which `client` is connected to `server`, both processes of this host."""

    def sockets(pid: int) -> set[str]:
        links = []
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            try:
                links.append(str(entry.readlink()))
            except OSError:
                continue
        return {found[1] for link in links if (found := re.fullmatch(r"socket:\[(\d+)\]", link))}

    ends: dict[str, set[tuple[str, str]]] = {}
    table = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    for name, inodes in (("server", sockets(server)), ("client", sockets(client))):
        ends[name] = {(row[1], row[2]) for row in table if row[9] in inodes}
    return {int(local.partition(":")[2], 16) for local, remote in ends["server"] if (remote, local) in ends["client"]}


def test_every_published_file_comes_over_http_and_nothing_else(site: TwoSeeders) -> None:
    for path, content in FILES.items():
        assert get(site.url(path)) == (200, content)
    assert get(site.url("model.bin"), Range="bytes=100-199") == (206, FILES["model.bin"][100:200])
    with pytest.raises(urllib.error.HTTPError) as caught:
        get(f"{site.tracker.url}/blobs/{'0' * 64}")
    with caught.value as answer:
        assert (answer.code, json.load(answer)["error"]["code"]) == (404, "not_found")


def test_after_a_seeder_was_killed_the_next_request_goes_to_the_other(site: TwoSeeders) -> None:
    port = int(urlsplit(where(site.url("model.bin")) or "").port or 0)
    site.seeder_at(port).kill()
    eventually(lambda: port not in site.ports(), timeout_s=AT_ONCE_S, what="the other seeder")
    eventually(lambda: comes(site.url("config.json")), timeout_s=AT_ONCE_S, what="a file from there")


def test_a_client_whose_seeder_is_killed_in_mid_file_goes_on_at_the_other(site: TwoSeeders, tmp_path: Path) -> None:
    target = tmp_path / "model.bin"
    downloading, busy = begin(site, target)
    busy.kill()
    assert downloading.wait(10) != 0
    had = target.stat().st_size
    assert 0 < had < SIZE
    eventually(
        lambda: curl(site.url("model.bin"), target, "--continue-at", "-").wait(30) == 0, timeout_s=40, what="the rest of the file"
    )
    assert target.read_bytes() == FILES["model.bin"]


def test_a_seeder_that_hangs_is_not_waited_for(site: TwoSeeders) -> None:
    os.kill(site.other.pid, signal.SIGSTOP)
    try:
        eventually(lambda: len(site.ports()) == 1, timeout_s=AT_ONCE_S + 3, what="the other seeder")
        eventually(lambda: comes(site.url("config.json")), timeout_s=AT_ONCE_S + 3, what="a file from there")
    finally:
        os.kill(site.other.pid, signal.SIGCONT)


def test_when_all_that_may_have_a_file_hang_it_is_never_said_to_be_missing(site: TwoSeeders) -> None:
    file = f"{site.tracker.url}/{REPO}/resolve/main/config.json"
    with ThreadPoolExecutor(1) as pool:
        try:
            for seeder in (site.seeder, site.other):
                os.kill(seeder.pid, signal.SIGSTOP)
            eventually(lambda: status(site.url("config.json")) != 302, timeout_s=AT_ONCE_S, what="the tracker to notice")
            answer = pool.submit(status, file)
            assert status(site.url("config.json")) == 503
        finally:
            for seeder in (site.seeder, site.other):
                os.kill(seeder.pid, signal.SIGCONT)
        assert answer.result() == 302, "a client of the Hub's API has waited for them"


def status(url: str) -> int:
    """Return with which status the tracker answers."""
    try:
        with urllib.request.build_opener(_NoRedirect).open(url, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


@pytest.mark.slow
def test_a_full_seeder_says_come_back_and_never_that_a_file_is_missing(site: TwoSeeders) -> None:
    site.other.stop()
    port = eventually(lambda: site.ports() if len(site.ports()) == 1 else None, timeout_s=40, what="one seeder").pop()
    etag = site.hub.file(REPO, "model.bin").etag
    request = f"GET /blobs/{etag} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()
    file = f"{site.tracker.url}/{REPO}/resolve/main/config.json"
    with ExitStack() as stack:
        for number in range(PLACES):
            source = f"127.0.0.{2 + number // PER_ADDRESS}"
            client = stack.enter_context(socket.create_connection(("127.0.0.1", port), 10, source_address=(source, 0)))
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.sendall(request)
        refused = eventually(lambda: refusal(f"http://127.0.0.1:{port}/blobs/{etag}"), timeout_s=20, what="no place to be left")
        assert refused == (503, "5")
        assert {status(file) for _ in range(10)} == {302}
        assert status(site.url("config.json")) == 302
        eventually(
            lambda: "places for clients over HTTP were taken" in get(f"{site.tracker.url}/servers")[1].decode(),
            what="it on the page",
        )
    eventually(lambda: comes(site.url("config.json")), timeout_s=20, what="a place")


def refusal(url: str) -> tuple[int, str] | None:
    """Return status and Retry-After of a refusal; None where bytes come."""
    try:
        with urllib.request.urlopen(url, timeout=20):
            return None
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers["Retry-After"]


def test_a_plain_library_goes_on_when_its_seeder_is_killed(site: TwoSeeders) -> None:
    """huggingface_hub without our hook asks the tracker again, with the range that it misses."""
    with Machine("plain", tracker=None, hub=site.tracker.url, HF_USE_P2P="0", HF_HUB_DISABLE_XET="1") as plain:
        code = f"from huggingface_hub import hf_hub_download\nprint(hf_hub_download({REPO!r}, 'model.bin'))"
        with plain.start("-c", code) as downloading:
            seeders = (site.seeder, site.other)
            busy = eventually(
                lambda: next((one for one in seeders if connections(one.pid, downloading.pid)), None), what="a transfer"
            )
            busy.kill()
            out, err = downloading.communicate(timeout=60)
        assert downloading.returncode == 0, err
        assert Path(out.strip()).read_bytes() == FILES["model.bin"]
        assert site.hub.gets("model.bin") == 0


def test_libtorrent_without_a_peer_takes_the_file_from_the_web_seed(site: TwoSeeders, tmp_path: Path) -> None:
    lt = pytest.importorskip("libtorrent")
    torrent = next(one for one in site.torrents(REPO) if one.size == SIZE)
    _, data = get(f"{site.tracker.url}/api/v1/torrents/{torrent.info_hash}.torrent")
    params = lt.load_torrent_buffer(data)
    assert params.url_seeds == [f"{site.tracker.url}/blobs/"]
    params.trackers = []  # so that nobody tells it of a peer
    params.save_path = str(tmp_path)
    quiet = dict.fromkeys(("enable_dht", "enable_lsd", "enable_upnp", "enable_natpmp"), False)
    session = lt.session({"listen_interfaces": "127.0.0.1:0", **quiet})
    handle = session.add_torrent(params)
    eventually(lambda: handle.status().is_seeding, timeout_s=40, what="the whole file")
    handle.flush_cache()
    file = tmp_path / torrent.etag
    eventually(lambda: file.exists() and file.read_bytes() == FILES["model.bin"], what="its content on disk")


def test_the_page_shows_the_port_and_what_was_sent(site: TwoSeeders) -> None:
    eventually(lambda: comes(site.url("model.bin")), timeout_s=AT_ONCE_S, what="a file, also just after a seeder was killed")
    _, page = get(f"{site.tracker.url}/servers")
    ports = {int(port) for port in re.findall(r"HTTP port (\d+)", page.decode())}
    assert ports == site.ports()
