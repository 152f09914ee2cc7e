"""What the client says to a tracker, and makes of its refusal, on a real socket."""

from __future__ import annotations

import base64
import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from importlib.metadata import version

import pytest

from llmpt.core import merkle
from llmpt.core.blob import Etag
from llmpt.core.errors import TrackerError, TrackerRefused, TrackerSlow, TrackerUnavailable
from llmpt.core.leases import Poll
from llmpt.core.metainfo import Metainfo
from llmpt.core.mirrors import Mirror, MirrorAsk, MirrorReport, MirrorState
from llmpt.core.repo import RepoRef
from llmpt.doctor.probe import Probe
from llmpt.tracker.client import TrackerClient
from llmpt.tracker.torrents import Appearance, Torrent

MOMENT = datetime(2026, 11, 1, tzinfo=timezone.utc)
REFUSAL = {"error": {"code": "client_too_old", "message": "update llmpt on this machine"}}


class Once:
    """A tracker that answers one request, as told; `answer` is sent as JSON, bytes as they are."""

    def __init__(self, status: str = "426 Upgrade Required", answer: object = REFUSAL, *headers: str) -> None:
        body = b"" if answer is None else answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        head = "\r\n".join((f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers))
        self._begin(f"{head}\r\n\r\n".encode() + body)

    @classmethod
    def saying(cls, raw: bytes) -> Once:
        """Make one that answers with these very bytes."""
        one = cls.__new__(cls)
        one._begin(raw)
        return one

    def _begin(self, answer: bytes) -> None:
        self._answer = answer
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.listening.settimeout(10)
        self.request = b""
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        self._thread.join(20)
        self.listening.close()

    def _serve(self) -> None:
        connection, _ = self.listening.accept()
        with connection:
            connection.settimeout(10)
            while b"\r\n\r\n" not in self.request:
                self.request += connection.recv(4096)
            length = re.search(rb"(?i)\ncontent-length: (\d+)", self.request)
            whole = self.request.index(b"\r\n\r\n") + 4 + (int(length[1]) if length else 0)
            while len(self.request) < whole:  # what is left unread would reset the connection under the answer
                self.request += connection.recv(4096)
            connection.sendall(self._answer)


@contextmanager
def asked(tracker: Once) -> Iterator[TrackerClient]:
    yield TrackerClient(f"http://127.0.0.1:{tracker.listening.getsockname()[1]}", token="llmpt_share_secret")
    tracker.close()


@contextmanager
def silent() -> Iterator[str]:
    """The address of something that takes every question and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


@pytest.fixture
def tracker() -> Iterator[Once]:
    one = Once()
    yield one
    one.close()


def test_the_client_says_its_version_and_passes_on_that_it_is_too_old(tracker: Once) -> None:
    client = TrackerClient(f"http://127.0.0.1:{tracker.listening.getsockname()[1]}")
    with pytest.raises(TrackerRefused, match="update llmpt on this machine") as refusal:
        client.get("/api/v1/whoami")
    assert (refusal.value.status, refusal.value.code) == (426, "client_too_old")
    assert b"\r\nUser-Agent: llmpt/%b\r\n" % version("llmpt").encode() in tracker.request


def test_a_token_for_sharing_is_asked_for_by_name_and_code() -> None:
    tracker = Once("201 Created", {"token": "llmpt_share_1", "scope": "share"})
    with asked(tracker) as client:
        assert client.share_token("ann", "a-code") == "llmpt_share_1"
    assert b"POST /api/v1/tokens " in tracker.request
    assert b'{"name": "ann", "code": "a-code"}' in tracker.request


def test_an_answer_without_a_body_is_an_answer() -> None:
    tracker = Once("204 No Content", None)
    with asked(tracker) as client:
        client.report(Etag("a" * 64), "b" * 64, "wrong")
    assert b"Authorization: Bearer llmpt_share_secret" in tracker.request


@pytest.mark.parametrize(("said", "seconds"), [("7", 7), ("soon", None)])
def test_a_refusal_passes_on_when_to_ask_again(said: str, seconds: int | None) -> None:
    tracker = Once("429 Too Many Requests", {"error": {"code": "slow_down", "message": "too often"}}, f"Retry-After: {said}")
    with asked(tracker) as client, pytest.raises(TrackerRefused, match="too often") as refusal:
        client.leases(Poll("m"))
    assert refusal.value.retry_after_s == seconds


@pytest.mark.parametrize(
    "answer", [{}, {"leases": 5}, {"leases": [{"etag": "x", "role": "wait"}]}, {"leases": [{"etag": "a" * 64}]}, {"leases": [7]}]
)
def test_an_answer_about_leases_that_makes_no_sense_is_none(answer: dict[str, object]) -> None:
    with asked(Once("200 OK", answer)) as client, pytest.raises(TrackerUnavailable, match="makes no sense"):
        client.leases(Poll("m"))


def test_a_tracker_that_takes_the_question_and_says_nothing_is_slow_and_one_that_is_not_there_is_not() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        with pytest.raises(TrackerSlow):
            TrackerClient(url, timeout_s=0.2).leases(Poll("m"))
    with pytest.raises(TrackerUnavailable) as gone:
        TrackerClient(url, timeout_s=0.2).leases(Poll("m"))
    assert not isinstance(gone.value, TrackerSlow)


# The public methods: None and False instead of exceptions, whatever a network does.

BLOB = Metainfo.from_leaves(Etag("e" * 64), 70_000, bytes(32) * merkle.leaf_count(70_000))
ENTRY = {
    "info_hash": "1" * 64,
    "etag": "e" * 64,
    "size": 70_000,
    "piece_length": 65_536,
    "magnet": "magnet:?xt=urn:btmh:1220" + "1" * 64,
    "seeders": 2,
    "leechers": 1,
    "completed": 7,
    "appears_in": [{"repo_type": "model", "repo_id": "org/name", "commit": "c" * 40, "path": "a/model.bin"}],
}
BAD_JSON = b'{"torrents": ['


def test_a_torrent_is_registered_with_the_place_where_it_stands() -> None:
    tracker = Once("200 OK", {"torrents": 1})
    with asked(tracker) as client:
        place = {"repo_id": "org/name", "repo_type": "dataset", "commit": "c" * 40, "path": "a/model.bin"}
        assert client.register_torrent(BLOB, **place, refs=("main",)) is True
    head, _, body = tracker.request.partition(b"\r\n\r\n")
    assert head.startswith(b"POST /api/v1/publish HTTP/1.1\r\n")
    assert b"Authorization: Bearer llmpt_share_secret" in head
    told = json.loads(body)
    assert Metainfo.parse(base64.b64decode(told.pop("torrents")[0])) == BLOB
    files = [{"path": "a/model.bin", "size": 70_000, "etag": "e" * 64, "lfs": True}]
    manifest = {"repo_type": "dataset", "repo_id": "org/name", "commit": "c" * 40, "refs": ["main"], "complete": False}
    assert told == {**manifest, "files": files}


def test_a_torrent_is_registered_alone_where_no_place_is_given() -> None:
    tracker = Once("200 OK", {"torrents": 1})
    with asked(tracker) as client:
        assert client.register_torrent(BLOB.encode()) is True
    assert list(json.loads(tracker.request.partition(b"\r\n\r\n")[2])) == ["torrents"]


@pytest.mark.parametrize(
    ("status", "answer", "said"),
    [
        ("500 Internal Server Error", {"error": {"code": "internal", "message": "the tracker's log says what"}}, "log says what"),
        ("401 Unauthorized", {"error": {"code": "token_unknown", "message": "no such token"}}, "no such token"),
        ("200 OK", BAD_JSON, "did not answer with JSON"),
        ("200 OK", b"[" * 200_000, "did not answer with JSON"),
        ("200 OK", [1], "did not answer with JSON"),
    ],
)
def test_a_torrent_that_is_not_registered_is_false_with_the_reason_in_the_log(
    status: str, answer: object, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    with asked(Once(status, answer)) as client:
        assert client.register_torrent(BLOB) is False
    assert said in caplog.text


def test_what_is_no_torrent_is_not_registered(caplog: pytest.LogCaptureFixture) -> None:
    client = TrackerClient("http://127.0.0.1:9")
    assert client.register_torrent(b"no torrent", repo_id="org/name", commit="c" * 40, path="a") is False
    assert "not published" in caplog.text


def test_a_tracker_that_takes_the_torrent_and_says_nothing_is_false(caplog: pytest.LogCaptureFixture) -> None:
    with silent() as url:
        assert TrackerClient(url, publish_timeout_s=0.2).register_torrent(BLOB) is False
    assert "no answer from the tracker" in caplog.text


@pytest.mark.parametrize("end", ["", "/", "//"])
def test_torrents_are_asked_for_under_the_address_with_and_without_a_slash(end: str) -> None:
    tracker = Once("200 OK", {"torrents": [ENTRY], "next": None})
    client = TrackerClient(f"http://127.0.0.1:{tracker.listening.getsockname()[1]}{end}")
    found = client.get_torrents(repo_id="org/name", revision="main", filename="a/model.bin", etag="e" * 64)
    tracker.close()
    place = Appearance("model", "org/name", "c" * 40, "a/model.bin")
    assert found == [Torrent("1" * 64, "e" * 64, 70_000, 65_536, str(ENTRY["magnet"]), 2, 1, 7, (place,))]
    line = tracker.request.split(b"\r\n")[0]
    query = b"repo_id=org%2Fname&revision=main&path=a%2Fmodel.bin&etag=" + b"e" * 64 + b"&repo_type=model"
    assert line == b"GET /api/v1/torrents?" + query + b" HTTP/1.1"


@pytest.mark.parametrize(
    ("status", "answer"),
    [
        ("404 Not Found", {"error": {"code": "not_found", "message": "no such route"}}),
        ("404 Not Found", b"<html>"),
        ("500 Internal Server Error", b""),
        ("200 OK", {"torrents": [], "next": None}),
        ("200 OK", BAD_JSON),
        ("200 OK", {"torrents": 7}),
        ("200 OK", {"torrents": [{**ENTRY, "size": "large"}], "next": None}),
        ("302 Found", {}),
    ],
)
def test_torrents_that_cannot_be_had_are_none(status: str, answer: object) -> None:
    with asked(Once(status, answer, "Location: http://127.0.0.1:9/")) as client:
        assert client.get_torrents(repo_id="org/name") is None


def test_torrents_of_a_tracker_that_says_nothing_are_none_in_time(caplog: pytest.LogCaptureFixture) -> None:
    with silent() as url:
        before = time.monotonic()
        assert TrackerClient(url, timeout_s=0.2).get_torrents() is None
        assert time.monotonic() - before < 2
    assert "no answer from the tracker" in caplog.text


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"])
def test_proxies_of_the_environment_are_for_the_internet(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "http://127.0.0.1:9")
    with asked(Once("200 OK", {"torrents": [ENTRY], "next": None})) as client:
        assert client.get_torrents() is not None


@pytest.mark.parametrize(
    ("status", "answer", "well"),
    [
        ("200 OK", {"status": "ok", "boot_id": "b", "version": "1"}, True),
        ("503 Service Unavailable", {"error": {"code": "unhealthy", "message": "the announcer is not open yet"}}, False),
        ("404 Not Found", b"no tracker", False),
        ("200 OK", {}, False),
        ("200 OK", {"boot_id": 7}, False),
        ("200 OK", b"<html>", False),
    ],
)
def test_ping_says_whether_the_tracker_is_well(status: str, answer: object, well: bool) -> None:
    tracker = Once(status, answer)
    with asked(tracker) as client:
        assert client.ping() is well
    assert tracker.request.startswith(b"GET /healthz ")


def test_ping_is_false_where_nothing_answers() -> None:
    with silent() as url:
        assert TrackerClient(url, timeout_s=0.2).ping() is False
    assert TrackerClient(url, timeout_s=0.2).ping() is False


GARBAGE = [
    b"",
    b"\0\xff\xfe not HTTP\r\n\r\n",
    b"HTTP/1.1 ABC OK\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n{",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n",
    b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000 + b"\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{",
    b"HTTP/1.1 429 No\r\nRetry-After: \xb2\r\nContent-Length: 2\r\n\r\n{}",
    b'HTTP/1.1 200 OK\r\nContent-Length: 22\r\n\r\n{"boot_id": "\\ud800"}\r\n',
    b'HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n"\xff"',
]


@pytest.mark.parametrize("raw", GARBAGE)
def test_whatever_a_socket_answers_is_an_error_of_our_tree(raw: bytes) -> None:
    with asked(Once.saying(raw)) as client, pytest.raises(TrackerError):
        client.boot_id()


@pytest.mark.parametrize(
    "raw", [*GARBAGE, b"HTTP/1.1 200 OK\r\nDate: 0 0 99999999999\r\nContent-Length: 200000\r\n\r\n" + b"[" * 200_000]
)
def test_the_doctor_says_of_whatever_a_socket_answers_that_it_is_no_tracker(raw: bytes) -> None:
    tracker = Once.saying(raw)
    probe = Probe.of(f"http://127.0.0.1:{tracker.listening.getsockname()[1]}")
    tracker.close()
    assert not probe.well
    assert probe.reason.isprintable()


def test_a_refusal_cannot_write_on_the_terminal() -> None:
    refusal = {"error": {"code": "\x1b]0;", "message": "\x1b[2J" + "x" * 100_000}}
    with asked(Once("400 Bad Request", refusal)) as client, pytest.raises(TrackerRefused) as said:
        client.get("/api/v1/torrents")
    assert (str(said.value) + said.value.code).isprintable()
    assert len(str(said.value)) < 1000


# Mirrors.

MIRROR = Mirror(7, MirrorAsk(RepoRef("model", "org/name"), "main", ("*",)), MirrorReport(MirrorState.QUEUED), MOMENT, MOMENT)


def test_a_mirror_that_makes_no_sense_does_not_hold_up_the_others(caplog: pytest.LogCaptureFixture) -> None:
    tracker = Once("200 OK", {"mirrors": [{**MIRROR.as_json(), "repo_id": "../x"}, MIRROR.as_json(), None], "next": None})
    with asked(tracker) as client:
        assert client.mirrors((MirrorState.QUEUED, MirrorState.RUNNING)) == [MIRROR]
    assert tracker.request.startswith(b"GET /api/v1/mirrors?limit=200&state=queued%2Crunning ")
    assert caplog.text.count("passed over") == 2


def test_mirrors_in_order_are_read_page_by_page() -> None:
    tracker = Once("200 OK", {"mirrors": [MIRROR.as_json()], "next": "more"})
    with asked(tracker) as client:
        assert next(client.mirrors_in_order((MirrorState.QUEUED,))) == MIRROR
    assert tracker.request.startswith(b"GET /api/v1/mirrors?limit=200&state=queued&order=next ")


def test_what_is_asked_for_and_reported_goes_out_as_its_type_says() -> None:
    tracker = Once("202 Accepted", MIRROR.as_json())
    with asked(tracker) as client:
        assert client.ask_mirror(MIRROR.ask) == MIRROR
    assert json.loads(tracker.request.partition(b"\r\n\r\n")[2]) == MIRROR.ask.as_json()
    tracker, report = Once("200 OK", MIRROR.as_json()), MirrorReport(MirrorState.DONE, "c" * 40, 1, 1, 5, 5)
    with asked(tracker) as client:
        client.report_mirror(7, report)
    assert MirrorReport.parse(json.loads(tracker.request.partition(b"\r\n\r\n")[2]), strict=True) == report


def test_an_answer_that_is_no_mirror_is_no_answer() -> None:
    tracker = Once("202 Accepted", {"id": "seven"})
    with asked(tracker) as client, pytest.raises(TrackerUnavailable, match="makes no sense"):
        client.ask_mirror(MIRROR.ask)
