"""A tracker that would have a workstation ask others for it: at which machines and ports it can make one knock."""

from __future__ import annotations

import hashlib
import os
import socket
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmpt.core.blob import Etag
from llmpt.core.errors import TrackerError
from llmpt.core.metainfo import Metainfo
from llmpt.core.networks import CidrSet, parse_address
from llmpt.swarm import Engine, EngineSettings, Source
from llmpt.tracker.blobs import BlobHttp, BlobTimings, NotOverHttp
from llmpt.tracker.client import TrackerClient
from tests.support.rogue_tracker import BLOB, RIGHT, RogueTracker, changed, redirect
from tests.support.waiting import eventually

ETAG = BLOB.etag
TIMINGS = BlobTimings(answer_s=1.0, pause_s=0.05)


class Bystander:
    """A service that has nothing to do with llmpt; counts who knocks, and keeps what they say."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self.heard: list[bytes] = []
        self.knocks = 0
        self._socket = socket.create_server((host, 0))
        self._socket.settimeout(0.02)
        self.port = int(self._socket.getsockname()[1])
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while not self._stopped.is_set():
            try:
                connection, _ = self._socket.accept()
            except TimeoutError:
                continue
            self.knocks += 1
            with connection:
                connection.settimeout(0.3)
                try:
                    self.heard.append(connection.recv(4096))
                except OSError:
                    pass

    def __enter__(self) -> Bystander:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._stopped.set()
        self._thread.join()
        self._socket.close()


@pytest.fixture
def bystander() -> Iterator[Bystander]:
    made = Bystander()
    yield made
    made.close()


@pytest.fixture
def tracker() -> Iterator[RogueTracker]:
    with RogueTracker("0.0.0.0") as made:
        yield made


def lan_address() -> str:
    """Return an address of this host on a network, as its tracker may have one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect(("192.0.2.77", 9))
            found = str(sock.getsockname()[0])
        except OSError:
            found = "127.0.0.1"
    if found.startswith("127."):
        pytest.skip("this host is on no network")
    return found


def fetched(url: str) -> str:
    """Try to have the blob over HTTP; return why not."""
    with tempfile.TemporaryFile() as file, pytest.raises(NotOverHttp) as refused:
        BlobHttp(url, stall_timeout_s=0.3, timings=TIMINGS).fetch(ETAG, BLOB.size, file.fileno(), on_progress=lambda _: None)
    return str(refused.value)


@pytest.mark.parametrize(
    "target", ["/admin?delete=all", "/", f"/blobs/{ETAG}?x=1", f"/blobs/{ETAG}/..", f"/blobs/{'f' * 64}", "/%0d%0aX"]
)
def test_a_redirect_asks_no_service_for_anything_but_the_blob(tracker: RogueTracker, bystander: Bystander, target: str) -> None:
    tracker.says(f"/blobs/{ETAG}", redirect(f"http://127.0.0.1:{bystander.port}{target}"))
    assert fetched(f"http://127.0.0.1:{tracker.port}")
    with pytest.raises(TrackerError):
        BlobHttp(f"http://127.0.0.1:{tracker.port}", stall_timeout_s=0.3, timings=TIMINGS).locate(ETAG)
    assert bystander.knocks == 0


HERE = ("127.0.0.1", "localhost", "[::1]", "0.0.0.0", "[::]", "[::ffff:127.0.0.1]", "127.1", "2130706433", "0x7f.1")
NOWHERE = ("http://169.254.169.254:8001", "http://[fe80::1]:8001", "http://192.0.2.9:22", "ftp://192.0.2.9:2121", "file:///etc")


@pytest.mark.parametrize("host", HERE)
def test_a_tracker_elsewhere_sends_nobody_to_their_own_machine(tracker: RogueTracker, bystander: Bystander, host: str) -> None:
    base = f"http://{lan_address()}:{tracker.port}"
    tracker.says(f"/blobs/{ETAG}", redirect(f"http://{host}:{bystander.port}/blobs/{ETAG}"))
    assert fetched(base)
    with pytest.raises(TrackerError):
        BlobHttp(base, stall_timeout_s=0.3, timings=TIMINGS).locate(ETAG)
    assert bystander.knocks == 0


def test_a_tracker_on_this_machine_may(tracker: RogueTracker, bystander: Bystander) -> None:
    tracker.says(f"/blobs/{ETAG}", redirect(f"http://127.0.0.1:{bystander.port}/blobs/{ETAG}"))
    fetched(f"http://127.0.0.1:{tracker.port}")
    assert bystander.knocks


@pytest.mark.parametrize("place", NOWHERE)
def test_a_redirect_leads_to_no_link_no_service_and_no_other_scheme(tracker: RogueTracker, place: str) -> None:
    tracker.says(f"/blobs/{ETAG}", redirect(f"{place}/blobs/{ETAG}"))
    blobs = BlobHttp(f"http://{lan_address()}:{tracker.port}", stall_timeout_s=0.3, timings=TIMINGS)
    with pytest.raises(TrackerError, match=r"redirected|not the URL"):
        blobs.locate(ETAG)


def test_a_seeder_redirects_nobody(tracker: RogueTracker, bystander: Bystander) -> None:
    with RogueTracker("0.0.0.0") as seeder:
        seeder.says(f"/blobs/{ETAG}", redirect(f"http://127.0.0.1:{bystander.port}/blobs/{ETAG}"))
        tracker.says(f"/blobs/{ETAG}", redirect(f"http://{lan_address()}:{seeder.port}/blobs/{ETAG}"))
        assert "redirects elsewhere" in fetched(f"http://127.0.0.1:{tracker.port}")
    assert bystander.knocks == 0


def test_a_look_up_names_no_service_as_a_peer(tracker: RogueTracker) -> None:
    named = [
        {"address": address, "port": port}
        for address in ("10.0.0.7", "127.0.0.1", "::1", "0.0.0.0", "224.0.0.1", "255.255.255.255", "169.254.1.1", "fe80::1")
        for port in (22, 1023, 6881)
    ]
    torrents = changed(RIGHT["/api/v1/torrents"], ("torrents", 0, "peers"), named)
    tracker.says("/api/v1/torrents", torrents)
    tracker.says("/api/v1/lookup", torrents)
    elsewhere, here = TrackerClient(f"http://{lan_address()}:{tracker.port}"), TrackerClient(f"http://127.0.0.1:{tracker.port}")
    assert elsewhere.lookup(ETAG).peers == (("10.0.0.7", 6881),)
    assert elsewhere.lookup_all((ETAG,), {})[ETAG].peers == (("10.0.0.7", 6881),)
    assert here.lookup(ETAG).peers == (("10.0.0.7", 6881), ("127.0.0.1", 6881), ("::1", 6881))


def test_the_swarm_knocks_at_no_service_that_an_announce_names(bystander: Bystander, tmp_path: Path) -> None:
    """libtorrent asks the tracker for peers itself: its answer names a service of this machine."""
    content = os.urandom(200_000)
    leaves = b"".join(hashlib.sha256(content[at : at + (16 << 10)]).digest() for at in range(0, len(content), 16 << 10))
    metainfo = Metainfo.from_leaves(Etag(hashlib.sha256(content).hexdigest()), len(content), leaves)
    own = lan_address()
    with RogueTracker("0.0.0.0") as tracker, Bystander(own) as there:
        peers = b"".join(
            socket.inet_aton(host) + port.to_bytes(2, "big") for host, port in (("127.0.0.1", bystander.port), (own, there.port))
        )
        tracker.says("/announce", b"d8:intervali60e12:min intervali30e5:peers%d:%be" % (len(peers), peers))
        settings = EngineSettings((own,), 0, CidrSet.parse("0.0.0.0/0"), parse_address(own))
        with Engine(settings, user_agent="test") as engine:
            (tmp_path / "file").touch()
            source = Source(metainfo, (), f"http://{own}:{tracker.port}/announce", None)
            engine.downloads.begin(source, tmp_path / "file", resume=False)
            eventually(lambda: there.knocks, what="the peer that may be named to be knocked at")
            assert bystander.knocks == 0


def test_a_torrent_brings_no_tracker_and_no_web_seed_of_its_own() -> None:
    raw = BLOB.encode()
    said = b"d8:announce21:http://127.0.0.1:22/x" + raw[1:-1] + b"8:url-listl20:http://127.0.0.1:22/ee"
    assert Metainfo.parse(said).encode() == raw
