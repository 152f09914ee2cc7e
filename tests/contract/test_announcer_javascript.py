"""A tracker's client that is not ours, the npm package bittorrent-tracker, announces and scrapes over HTTP and UDP."""

from __future__ import annotations

from tests.support import javascript
from tests.support.announcer import AnnouncerProcess
from tests.support.udp_client import HASH, UdpClient


def test_bittorrent_tracker_announces_and_scrapes_over_http_and_udp() -> None:
    with AnnouncerProcess() as announcer:
        announcer.control.do("register", hashes=[HASH.hex()])
        announcer.open()
        seeder = UdpClient(announcer.port)
        seeder.connect()
        seeder.announce(left=0, port=7000)
        seeder.close()
        told = {
            "peers": ["127.0.0.1:7000"],
            "announced": {"complete": 1, "incomplete": 1},
            "scraped": {"complete": 1, "incomplete": 1, "downloaded": 0},
            "stopped": True,
        }
        found = javascript.announces(announcer.port, HASH.hex())
        found["http"]["announced"].pop("downloaded")  # which UDP does not tell
        assert found == {"http": told, "udp": told}
