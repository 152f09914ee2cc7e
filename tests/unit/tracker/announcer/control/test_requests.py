"""The operations of the control socket, one line in and one reply out."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest

from llmpt.core.errors import SettingError
from llmpt.core.http_head import parse_head
from llmpt.core.networks import Address, CidrSet
from llmpt.core.repo import RepoRef
from llmpt.host.loops import Trouble
from llmpt.host.routes import HostNetwork
from llmpt_tracker.announcer.control import requests
from llmpt_tracker.announcer.control.requests import MAX_LINE_BYTES, ControlServer
from llmpt_tracker.announcer.peers.prober import Prober
from llmpt_tracker.announcer.tracker import Tracker
from llmpt_tracker.control.messages import Traffic
from tests.unit.tracker.announcer.world import CONTAINER, GATEWAY, HASH, KEY, World


class Announcer:
    """The control server over a `World`, with a port that opens when it is told to."""

    def __init__(self, *, trusted: str = "", port: int | None = 6969, host: HostNetwork | None = None) -> None:
        self.world = World(host=host)
        self.port: int | None = None
        self._to_open = port
        self.tracker = Tracker(
            self.world.store,
            seeders=self.world.seeders,
            visibility=self.world.visibility,
            trusted_proxies=CidrSet.parse(trusted),
            clock=lambda: self.world.now,
        )
        self.control = ControlServer(self.tracker, open_port=self._open, ports=lambda: (self.port, self.port))

    def set_reachable(self, *endpoints: str) -> None:
        """Let connections to these come to be, and to no others."""

        async def connect(address: Address, port: int, _timeout_s: float) -> bool:
            return f"{address}:{port}" in endpoints

        self.tracker.prober = Prober(self.world.store, clock=lambda: self.world.now, connect=connect)

    def _open(self) -> int:
        if self._to_open is None:
            raise SettingError("cannot listen on 0.0.0.0 port 6969")
        self.port = self._to_open
        return self._to_open

    def ask(self, op: str, **arguments: Any) -> dict[str, Any]:
        return self.raw(json.dumps({"op": op, **arguments}).encode())

    def raw(self, line: bytes) -> dict[str, Any]:
        reply: dict[str, Any] = json.loads(asyncio.run(self.control.answer(line)))
        return reply


def test_registered_hashes_are_on_the_list_until_they_are_taken_off() -> None:
    announcer = Announcer()
    assert announcer.ask("register", hashes=["ab" * 20]) == {"ok": True}
    assert announcer.ask("status")["swarms"] == 2
    assert announcer.ask("unregister", hashes=["ab" * 20, "cd" * 20]) == {"ok": True}
    assert announcer.ask("status")["swarms"] == 1


def test_downloads_are_counted_on_from_what_the_parent_knew() -> None:
    announcer = Announcer()
    announcer.ask("register", hashes=["ab" * 20], completed={"ab" * 20: 5})
    announcer.world.store.add_completed(bytes.fromhex("ab" * 20))
    assert announcer.ask("completed") == {"ok": True, "completed": {"ab" * 20: 6}}
    assert announcer.ask("completed") == {"ok": True, "completed": {}}


def test_what_came_to_machines_is_told_once() -> None:
    announcer = Announcer()
    announcer.tracker.arrivals.note(HASH, bytes(6), 0)
    said = announcer.ask("traffic")
    assert Traffic.parse(said) == Traffic({HASH: 1})
    assert Traffic.parse(announcer.ask("traffic")) == Traffic()
    some = Traffic({HASH: 2}, 7, {RepoRef("model", "org/name"): 5})
    assert Traffic.parse(json.loads(json.dumps(some.as_json()))) == some


def test_a_batch_with_a_bad_hash_changes_nothing() -> None:
    announcer = Announcer()
    assert not announcer.ask("register", hashes=["ab" * 20, "AB" * 20])["ok"]
    assert announcer.ask("status")["swarms"] == 1


def test_the_port_is_closed_until_it_is_opened() -> None:
    announcer = Announcer()
    boot_id = announcer.tracker.boot_id
    assert announcer.ask("status") == {
        "ok": True, "boot_id": boot_id, "swarms": 1, "peers": 0, "open": False, "announce_port": None,
        "troubles": [], "counts": {"announces": 0, "scrapes": 0, "refusals": 0},
        "roles": {"seeder": 0, "leecher": 0, "paused": 0},
    }  # fmt: skip
    assert announcer.ask("open") == {"ok": True, "announce_port": 6969, "udp_port": 6969, "boot_id": boot_id}
    assert announcer.ask("status")["open"] is True


def test_a_port_that_cannot_be_had_is_an_answer() -> None:
    assert announcer_error(Announcer(port=None), "open") == "cannot listen on 0.0.0.0 port 6969"


def announcer_error(announcer: Announcer, op: str, **arguments: Any) -> str:
    reply = announcer.ask(op, **arguments)
    assert reply["ok"] is False
    return str(reply["error"])


def test_swarms_are_counted_without_their_peers() -> None:
    announcer = Announcer()
    announcer.world.announce("10.0.0.1", left=0)
    announcer.world.announce("10.0.0.2")
    assert announcer.ask("swarms", hashes=[HASH.hex(), "ab" * 20]) == {
        "ok": True,
        "boot_id": announcer.tracker.boot_id,
        "swarms": {
            HASH.hex(): {"seeders": 1, "leechers": 1, "completed": 0},
            "ab" * 20: {"seeders": 0, "leechers": 0, "completed": 0},
        },
    }


def test_the_peers_of_swarms_are_told_as_the_asker_may_see_them() -> None:
    announcer = Announcer()
    announcer.ask("heartbeat", seeder="seeder", key=KEY, report={"port": 6881})
    announcer.world.announce("127.0.0.1", left=0, key=KEY)
    announcer.world.announce("10.0.0.2", port=7000)
    reply = announcer.ask("swarms", hashes=[HASH.hex()], peers=10, asker="10.0.0.9")
    assert reply["swarms"][HASH.hex()]["peers"] == [{"address": None, "port": 6881}, {"address": "10.0.0.2", "port": 7000}]


def test_a_heartbeat_is_listed_with_its_age() -> None:
    announcer = Announcer()
    report: dict[str, Any] = {"port": 6881, "hashing": None, "problems": []}
    reply = announcer.ask("heartbeat", seeder="s1", key=KEY, report=report)
    assert reply == {"ok": True, "boot_id": announcer.tracker.boot_id}
    announcer.world.now += 12.5
    assert announcer.ask("seeders")["seeders"] == [{"id": "s1", "age_s": 12.5, "report": report}]


def test_the_blob_servers_of_live_seeders_are_told_as_the_asker_may_see_them() -> None:
    announcer = Announcer()
    for name, address, report in (
        ("old", "10.0.0.1", {"blob_port": 8001}),
        ("here", "127.0.0.1", {"blob_port": 8001, "token_id": 7, "for_all": True}),
        ("there", "10.0.0.7", {"blob_port": 8002, "blob_tls": True}),
        ("none", "10.0.0.8", {"blob_port": None}),
        ("nowhere", None, {"blob_port": 8003}),
    ):
        announcer.world.now += 30 if name == "here" else 0
        announcer.ask("heartbeat", seeder=name, key=name, report=report, address=address)
    assert announcer.ask("blob_servers", asker="10.0.0.9")["servers"] == [
        {"id": "here", "token_id": 7, "for_all": True, "tls": False, "address": "127.0.0.1", "port": 8001, "shown": None},
        {
            "id": "there",
            "token_id": None,
            "for_all": False,
            "tls": True,
            "address": "10.0.0.7",
            "port": 8002,
            "shown": "10.0.0.7",
        },
    ]


def test_a_port_of_who_asks_is_tried_on_request() -> None:
    announcer = Announcer()
    announcer.set_reachable("10.0.0.1:6881")
    assert announcer.ask("reach", address="10.0.0.1", port=6881) == {"ok": True, "reachable": True}
    assert announcer.ask("reach", address="10.0.0.1", port=6882) == {"ok": True, "reachable": False}


def test_nobody_can_say_who_is_reachable_behind_a_gateway_or_outside_the_lan() -> None:
    announcer = Announcer(host=CONTAINER)
    announcer.set_reachable(f"{GATEWAY}:6881", "8.8.8.8:6881")
    for address in (GATEWAY, "8.8.8.8"):
        assert announcer.ask("reach", address=address, port=6881) == {"ok": True, "reachable": None}


def machine_says(*etags: str, **more: Any) -> dict[str, Any]:
    wants = [{"etag": etag, "size": 9, "repo_type": "model", "repo_id": "org/name"} for etag in etags]
    poll = {"machine": "life", "stall_timeout_s": 5.0, "wants": wants, **more}
    return {"poll": poll, "owner": {"token": 1, "name": "desk-7"}}


def test_a_machine_that_polls_learns_what_to_fetch_and_what_is_here() -> None:
    announcer = Announcer()
    announcer.world.announce("10.0.0.1", left=0)
    announcer.ask("register", hashes=["ab" * 20])
    swarms = {"a" * 64: HASH.hex(), "b" * 64: "ab" * 20}  # the second has no seeder
    reply = announcer.ask("leases", **machine_says("b" * 64, "a" * 64, "c" * 64), swarms=swarms)
    assert [(one["etag"][0], one["role"], one["fetcher"]) for one in reply["leases"]] == [
        ("b", "fetch", "desk-7"),
        ("a", "here", None),
        ("c", "wait", None),
    ]
    assert (reply["poll_s"], reply["boot_id"]) == (0.5, announcer.tracker.boot_id)


def test_what_is_fetched_is_listed() -> None:
    announcer = Announcer()
    announcer.ask("leases", **machine_says("b" * 64), swarms={})
    progress = [{"etag": "b" * 64, "bytes": 4, "rate_bytes_s": 2}]
    announcer.ask("leases", **machine_says(fetching=progress), swarms={})
    about = {"etag": "b" * 64, "size": 9, "repo": "model/org/name", "fetcher": "desk-7", "waiting": 0}
    assert announcer.ask("fetches", limit=9)["fetches"] == [{**about, "bytes": 4, "rate_bytes_s": 2}]
    assert announcer.ask("fetches", limit=0)["fetches"] == []


def test_who_does_something_too_often_is_told_how_long_to_wait() -> None:
    announcer = Announcer()
    pace: dict[str, Any] = {"name": "leases 1", "per_s": 2.0, "burst": 3}
    assert [announcer.ask("take", **pace)["wait_s"] for _ in range(4)] == [0, 0, 0, 0.5]
    assert announcer.ask("take", **{**pace, "name": "leases 2"})["wait_s"] == 0
    announcer.world.now += 0.5
    assert [announcer.ask("take", **pace)["wait_s"] for _ in range(2)] == [0, 0.5]


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{",
        b"[]",
        b"\xff\n",
        b"null",
        b'{"op":"nothing"}',
        b'{"op":{}}',
        b'{"op":"register"}',
        b'{"op":"register","hashes":5}',
        b'{"op":"register","hashes":[],"completed":{"%s":"x"}}' % HASH.hex().encode(),
        b'{"op":"register","hashes":[],"completed":[1]}',
        b'{"op":"register","hashes":[5]}',
        b'{"op":"swarms","hashes":["%s"],"peers":5}' % HASH.hex().encode(),
        b'{"op":"swarms","hashes":["%s"],"peers":5,"asker":"server"}' % HASH.hex().encode(),
        b'{"op":"swarms","hashes":["%s"],"peers":"x","asker":"10.0.0.1"}' % HASH.hex().encode(),
        b'{"op":"reach","address":"10.0.0.1"}',
        b'{"op":"reach","address":"10.0.0.1","port":0}',
        b'{"op":"reach","address":"10.0.0.1","port":"6881"}',
        b'{"op":"reach","address":"server","port":6881}',
        b'{"op":"heartbeat","seeder":"s1"}',
        b'{"op":"heartbeat","seeder":"s1","key":"","report":{}}',
        b'{"op":"heartbeat","seeder":"s1","key":"k","report":[]}',
        b'{"op":"leases","poll":{},"swarms":{}}',
        b'{"op":"leases","poll":[],"swarms":[]}',
        b'{"op":"fetches"}',
        b'{"op":"take","name":"x","per_s":"y","burst":1}',
        b"[" * 100_000,
    ],
)
def test_what_is_no_request_is_told_so(line: bytes) -> None:
    reply = Announcer().raw(line)
    assert reply["ok"] is False
    assert reply["error"]


def test_a_bug_is_answered_too_and_the_next_request_as_ever() -> None:
    announcer = Announcer()
    announcer.tracker.limiter.take = lambda *_args, **_more: 1 / 0  # type: ignore[method-assign]
    assert announcer_error(announcer, "take", name="x", per_s=1.0, burst=1) == (
        "something went wrong in the announcer (ZeroDivisionError)"
    )
    assert announcer.ask("status")["ok"] is True


def test_what_cannot_be_done_again_and_again_is_told() -> None:
    announcer = Announcer()
    announcer.tracker.health.is_bad(Trouble("dropping silent peers", "a bug", 0.0))
    assert announcer.ask("status")["troubles"] == ["dropping silent peers: a bug"]


def test_a_line_without_end_is_answered_before_the_connection_ends(tmp_path: Path) -> None:
    async def scenario() -> dict[str, Any]:
        announcer = Announcer()
        await announcer.control.start(tmp_path / "s")
        reader, writer = await asyncio.open_unix_connection(tmp_path / "s")
        writer.write(b"x" * (MAX_LINE_BYTES + 2))
        reply: dict[str, Any] = json.loads(await asyncio.wait_for(reader.readline(), 10))
        assert await asyncio.wait_for(reader.read(), 10) == b""
        writer.close()
        await announcer.control.close()
        return reply

    reply = asyncio.run(scenario())
    assert reply == {"ok": False, "error": f"a request has at most {MAX_LINE_BYTES} bytes"}


def test_the_page_of_the_control_socket_lists_every_operation() -> None:
    page = (Path(__file__).parents[5] / "docs/protocols/control-socket.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)) == sorted(requests.OPERATIONS)


# What the tracker makes of a head


def answer(announcer: Announcer, source: str, *fields: str) -> bytes:
    query = f"info_hash={HASH.decode()}&peer_id={'p' * 20}&port=6881&left=0"
    head = "\r\n".join([f"GET /announce?{query} HTTP/1.1", *fields]).encode()
    return announcer.tracker.answer(parse_head(head), announcer.tracker.asker(source))


def test_a_forwarded_address_is_nothing_without_a_trusted_proxy() -> None:
    announcer = Announcer()
    assert b"external ip4:\x0a\x00\x00\x01" in answer(announcer, "10.0.0.1", "X-Forwarded-For: 192.168.9.9")


def test_behind_trusted_proxies_the_first_hop_that_is_none_is_the_client() -> None:
    announcer = Announcer(trusted="10.0.0.0/24")
    forwarded = ("X-Forwarded-For: 192.168.6.6", "X-Forwarded-For: 192.168.9.9, 10.0.0.2")
    assert b"external ip4:\xc0\xa8\x09\x09" in answer(announcer, "10.0.0.1", *forwarded)
    assert b"external ip4:\x0a\x00\x00\x01" in answer(announcer, "10.0.0.1", "X-Forwarded-For: nonsense")
    assert b"8.8.8.8 is outside LLMPT_PEER_CIDRS" in answer(announcer, "10.0.0.1", "X-Forwarded-For: 8.8.8.8")
    assert b"external ip4:\x0a\x00\x01\x01" in answer(announcer, "10.0.1.1", "X-Forwarded-For: 192.168.9.9")
