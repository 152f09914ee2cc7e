"""The real tracker: `llmpt-tracker serve`, its two processes, its ports, its data."""

from __future__ import annotations

import gzip
import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llmpt.core import bencode
from llmpt.core.metainfo import Metainfo
from llmpt.tracker.client import TrackerClient
from tests.support.tracker import TrackerProcess
from tests.support.waiting import eventually
from tests.unit.tracker.bodies import big, manifest, packed, report, small, torrent

A = torrent("a")
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@pytest.fixture(scope="module")
def tracker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrackerProcess]:
    with TrackerProcess(tmp_path_factory.mktemp("tracker") / "data") as process:
        yield process


@pytest.fixture
def own(tmp_path: Path) -> Iterator[TrackerProcess]:
    """A tracker that a test may break."""
    with TrackerProcess(tmp_path / "data") as process:
        yield process


def ask(tracker: TrackerProcess, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
    """Send a request with the tracker's token; return status and JSON."""
    data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    headers = {"Authorization": f"Bearer {tracker.token}", **headers}
    request = urllib.request.Request(tracker.url + path, data=data, method=method, headers=headers)
    try:
        with DIRECT.open(request, timeout=10) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def announce(
    tracker: TrackerProcess, meta: Metainfo, port: int = 6881, *, peer: int = 0, seeder_key: str = "", **arguments: Any
) -> dict[bytes, Any]:
    """Announce a peer of `meta`, or a seeder under its key; return what the announcer says."""
    quoted = "".join(f"%{byte:02x}" for byte in meta.info_hash.truncated)
    rest = "".join(f"&{name}={value}" for name, value in {"left": 0, "uploaded": 0, "downloaded": 0, **arguments}.items())
    place = "/".join(filter(None, (tracker.announce_url, seeder_key)))
    url = f"{place}?info_hash={quoted}&peer_id=-LL0001-{peer:012}&port={port}{rest}"
    with DIRECT.open(url, timeout=10) as answer:
        reply: dict[bytes, Any] = bencode.decode(answer.read())
        return reply


def children(pid: int) -> list[int]:
    """Return the processes that `pid` started, and theirs."""
    found = []
    for task in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = task.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid and fields[0] != "Z":
            child = int(task.parent.name)
            found += [child, *children(child)]
    return found


def command_line(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()


def alive(pids: list[int]) -> list[int]:
    return [pid for pid in pids if Path(f"/proc/{pid}/cmdline").exists() and command_line(pid)]


def test_what_is_published_can_be_announced_at_once(tracker: TrackerProcess) -> None:
    unknown = announce(tracker, torrent("nobody published this"))
    assert b"unregistered torrent" in unknown[b"failure reason"]
    status, figures = ask(tracker, "POST", "/api/v1/publish", manifest(big("m.bin", A), small("c"), torrents=packed(A)))
    assert (status, figures["files"]) == (200, 2)
    assert b"failure reason" not in announce(tracker, A)
    _, answer = ask(tracker, "GET", f"/api/v1/torrents?etag={A.etag}&include=metainfo,peers")
    (entry,) = answer["torrents"]
    assert (entry["seeders"], entry["leechers"]) == (1, 0)
    assert entry["peers"] == [{"address": "127.0.0.1", "port": 6881}]
    assert answer["announce_port"] == tracker.announce_port


def test_a_seeders_heartbeat_is_on_the_page(tracker: TrackerProcess) -> None:
    status, answer = ask(tracker, "PUT", "/api/v1/seeders/cellar", report())
    assert (status, answer["announce_port"]) == (200, tracker.announce_port)
    with DIRECT.open(f"{tracker.url}/servers", timeout=10) as page:
        assert b"This server&#39;s seeder" in page.read()


def test_a_machine_learns_whether_others_can_connect_to_it(tracker: TrackerProcess) -> None:
    client = TrackerClient(tracker.url)
    with socket.create_server(("127.0.0.1", 0)) as listening, socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        seen = [client.get("/api/v1/whoami", {"port": str(one.getsockname()[1])}) for one in (listening, closed)]
    assert [one["reachable"] for one in seen] == [True, False]
    assert (seen[0]["address"], seen[0]["protocol"]) == ("127.0.0.1", 1)


def test_metrics_tell_of_all_processes_and_of_the_announcer(tracker: TrackerProcess) -> None:
    def found(name: str) -> float:
        with DIRECT.open(f"{tracker.url}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))

    health = 'llmpt_http_requests_total{method="GET",route="health'
    answered, announced = found(health), found("llmpt_announces_total")
    for _ in range(40):  # among several processes
        assert ask(tracker, "GET", "/healthz")[0] == 200
    announce(tracker, torrent("metrics", 1 << 20))  # refused, and counted
    assert found(health) >= answered + 40
    assert found("llmpt_announces_total") == announced + 1


def test_a_packed_upload_is_refused(tracker: TrackerProcess) -> None:
    status, _ = ask(tracker, "POST", "/api/v1/publish", gzip.compress(b"{}"), **{"Content-Encoding": "gzip"})
    assert status == 415


def test_an_upload_without_a_length_has_the_same_limit(tracker: TrackerProcess) -> None:
    with socket.create_connection(("127.0.0.1", tracker.http_port), timeout=20) as connection:
        head = f"POST /api/v1/publish HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {tracker.token}\r\n"
        connection.sendall(head.encode() + b"Transfer-Encoding: chunked\r\n\r\n")
        try:
            for _ in range(12):
                connection.sendall(b"100000\r\n" + b" " * 0x100000 + b"\r\n")
        except OSError:  # it stopped listening to us
            pass
        try:
            answer = connection.recv(100)
        except ConnectionResetError:
            answer = b""
    assert not answer or b" 413 " in answer


def test_a_restart_serves_the_same_data_and_sigterm_ends_everything_with_status_zero(own: TrackerProcess) -> None:
    _, first = ask(own, "POST", "/api/v1/publish", {"torrents": packed(A)})
    token = own.token
    own.restart()
    assert own.token == token
    announce(own, A, port=7001, left=5)
    announce(own, A, port=7001, event="completed")
    own.restart()
    assert announce(own, A)[b"downloaded"] == 1  # the count of downloads too
    _, second = ask(own, "POST", "/api/v1/publish", {"torrents": packed(A)})
    assert second["new_torrents"] == 0
    assert second["instance_id"] == first["instance_id"]
    assert second["boot_id"] != first["boot_id"]
    family = children(own.pid)
    assert len(family) >= 3  # the announcer, gunicorn, its workers
    assert own.stop() == 0
    assert alive(family) == []


def test_a_database_that_is_none_is_said_in_one_line_and_left_as_it_is(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "tracker.db").write_bytes(os.urandom(9000))
    broken = TrackerProcess(data)
    with pytest.raises(AssertionError, match="ended with status 1"):
        broken.start()
    said = [line for line in broken.log.read_text().splitlines() if "tracker.db" in line]
    assert len(said) == 1
    assert f"{data / 'tracker.db'} cannot be used: " in said[0]
    assert "It holds the catalogue, tokens, and what is to be fetched; put " in said[0]
    assert "Traceback" not in broken.log.read_text()
    assert (data / "tracker.db").stat().st_size == 9000


def test_peers_of_a_seeders_host_never_push_it_out_of_its_swarm(own: TrackerProcess) -> None:
    ask(own, "POST", "/api/v1/publish", {"torrents": packed(A)})
    _, known = ask(own, "PUT", "/api/v1/seeders/cellar", report())
    announce(own, A, seeder_key=known["announce_key"])
    for number in range(1, 21):
        announce(own, A, port=7000 + number, peer=number, left=5)
    found = TrackerClient(own.url).get_torrents(etag=str(A.etag)) or []
    assert [(one.seeders, one.leechers) for one in found] == [(1, 8)]


def test_the_data_folder_is_its_owners_alone_and_no_log_names_the_token(tracker: TrackerProcess) -> None:
    assert tracker.data.stat().st_mode & 0o777 == 0o700
    for name in ("publish.token", "tracker.db"):
        assert (tracker.data / name).stat().st_mode & 0o777 == 0o600
    assert tracker.token not in tracker.log.read_text()


@pytest.mark.parametrize("victim", ["llmpt_tracker.announcer", "gunicorn"])
def test_when_one_process_is_killed_everything_ends(own: TrackerProcess, victim: str) -> None:
    family = children(own.pid)
    os.kill(next(pid for pid in family if victim in command_line(pid)), signal.SIGKILL)
    assert own.wait() == 128 + signal.SIGKILL
    eventually(lambda: alive(family) == [], timeout_s=15, what="every process of the tracker has ended")


def test_when_the_parent_is_killed_its_children_end(own: TrackerProcess) -> None:
    family = children(own.pid)
    own.kill()
    eventually(lambda: alive(family) == [], timeout_s=20, what="every process of the tracker has ended")


def test_a_killed_worker_is_replaced(tracker: TrackerProcess) -> None:
    master = next(pid for pid in children(tracker.pid) if "gunicorn" in command_line(pid))
    for worker in children(master):
        os.kill(worker, signal.SIGKILL)
    eventually(lambda: _healthy(tracker), timeout_s=20, what="a new worker answers")


def test_a_taken_port_is_one_clear_sentence(tracker: TrackerProcess, tmp_path: Path) -> None:
    for settings, name in (
        ({"LLMPT_HTTP_PORT": str(tracker.http_port)}, "LLMPT_HTTP_PORT"),
        ({"LLMPT_ANNOUNCE_PORT": str(tracker.announce_port)}, "LLMPT_ANNOUNCE_PORT"),
    ):
        other = TrackerProcess(tmp_path / name, settings=settings)
        done = run(other, "serve")
        assert done.returncode == 1
        assert name in done.stderr
        assert "Traceback" not in done.stderr


def test_a_setting_that_is_wrong_is_named(tmp_path: Path) -> None:
    done = run(TrackerProcess(tmp_path / "data", settings={"LLMPT_PEER_CIDRS": "lan"}), "serve")
    assert done.returncode == 1
    assert "LLMPT_PEER_CIDRS" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_token_is_made_shown_once_used_and_revoked(tracker: TrackerProcess) -> None:
    secret = run(tracker, "token", "create", "--name", "the lab").stdout.strip()
    headers = {"Authorization": f"Bearer {secret}"}
    assert ask(tracker, "POST", "/api/v1/publish", {"torrents": packed(A)}, **headers)[0] == 200
    listed = run(tracker, "token", "list").stdout
    assert "publish  *  the lab" in listed
    assert secret not in listed
    number = next(line.split()[0] for line in listed.splitlines() if "the lab" in line)
    assert run(tracker, "token", "revoke", number).returncode == 0
    assert ask(tracker, "POST", "/api/v1/publish", {"torrents": packed(A)}, **headers)[0] == 401
    assert run(tracker, "token", "revoke", "99").returncode == 1


def test_both_address_families_share_one_port(tmp_path: Path) -> None:
    if not Path("/proc/net/if_inet6").exists():
        pytest.skip("this host has no IPv6")
    with TrackerProcess(tmp_path / "data", settings={"LLMPT_BIND": "127.0.0.1,[::1]"}) as tracker:
        for host in ("127.0.0.1", "[::1]"):
            with DIRECT.open(f"http://{host}:{tracker.http_port}/healthz", timeout=10) as answer:
                assert answer.status == 200


def run(tracker: TrackerProcess, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `llmpt-tracker` in a tracker's environment."""
    command = [sys.executable, "-m", "llmpt_tracker", *arguments]
    return subprocess.run(command, env=tracker.environ, capture_output=True, text=True, timeout=60, check=False)


def _healthy(tracker: TrackerProcess) -> bool:
    try:
        return ask(tracker, "GET", "/healthz")[0] == 200
    except OSError:
        return False
