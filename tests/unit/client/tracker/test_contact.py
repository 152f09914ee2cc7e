"""What an agent asks again and again, only to hear how the tracker is, costs the tracker least."""

from __future__ import annotations

from collections.abc import Mapping

from llmpt.tracker.client import TrackerClient
from llmpt.tracker.looked_up import Contact
from llmpt.tracker.wire import Reply


class Answers:
    """In the place of a `Wire`: knows no torrent."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, Mapping[str, str]]] = []

    def call(self, method: str, path: str, query: Mapping[str, str]) -> Reply:
        self.asked.append((method, path, query))
        return Reply({"torrents": [], "boot_id": "one", "announce_port": 6969, "min_blob_bytes": 5}, "10.0.0.1", 100)


def test_a_contact_has_no_torrents_listed() -> None:
    client, wire = TrackerClient("http://tracker:8000"), Answers()
    client._wire = wire  # type: ignore[assignment]
    assert client.contact() == Contact("one", "http://tracker:6969/announce", 5)
    assert wire.asked == [("GET", "/api/v1/torrents", {"etag": "0" * 64})]
