"""A machine without a token that may read, where reading takes one: it asks at every port."""

from __future__ import annotations

import sqlite3
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing

import pytest

from llmpt.core import bencode
from llmpt.core.signed_address import signed_path
from tests.support.lan import Lan


def ask(url: str, token: str = "") -> tuple[int, bytes]:
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"} if token else {})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


@pytest.fixture(scope="module")
def lan(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lan]:
    with Lan(tmp_path_factory.mktemp("lan") / "lan", LLMPT_REQUIRE_READ_TOKEN="1") as lan:
        lan.hub.add("acme/secret", {"model.bin": b"more" * (1 << 19)})
        lan.mirror("acme/secret")
        lan.seeded("acme/secret")
        yield lan


def test_a_machine_without_a_token_gets_nothing_on_any_port(lan: Lan) -> None:
    (torrent,) = lan.seeded("acme/secret")
    free = lan.catalogue.share_token("desk")
    hub, api = f"{lan.tracker.url}/api/models", f"{lan.tracker.url}/api/v1"
    paths = [lan.tracker.url, hub, f"{hub}/acme/secret", f"{api}/repos", f"{api}/torrents", f"{api}/mirrors"]
    paths += [f"{api}/torrents/{torrent.info_hash}.torrent", f"{lan.tracker.url}/blobs/{torrent.etag}"]
    paths += [f"{lan.tracker.url}/acme/secret/resolve/main/model.bin"]
    for path in paths:
        for token, expected in (("", 401), ("llmpt_read_made_up", 401), (free, 403)):
            status, said = ask(path, token)
            assert (status, b"secret" in said) == (expected, False), path
    request = urllib.request.Request(
        f"{lan.tracker.url}/blobs/{torrent.etag}", headers={"Authorization": f"Bearer {lan.tracker.token}"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        base = str(answer.url).partition("/blobs/")[0]
    assert ask(f"{base}/blobs/{torrent.etag}")[0] == ask(f"{base}/blobs/9999999999.{'0' * 64}/{torrent.etag}")[0] == 401
    raw = "".join(f"%{torrent.info_hash[at : at + 2]}" for at in range(0, 40, 2))
    for key in ("", "/" + "f" * 32, f"/r1t1x{'0' * 32}"):
        query = f"?info_hash={raw}&peer_id={'p' * 20}&port=6999&left=1"
        url = f"{lan.tracker.announce_url}{key}{query}"
        for one in (url, url.replace("announce", "scrape")):
            found = bencode.decode(ask(one)[1])
            assert isinstance(found, dict)
            assert b"failure reason" in found


def test_one_that_hears_what_the_tracker_asks_a_seeder_gets_nothing_with_it(lan: Lan) -> None:
    (torrent,) = lan.seeded("acme/secret")
    request = urllib.request.Request(
        f"{lan.tracker.url}/blobs/{torrent.etag}", headers={"Authorization": f"Bearer {lan.tracker.token}"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        base = str(answer.url).partition("/blobs/")[0]
    with closing(sqlite3.connect(lan.root / "data" / "seeder.db")) as database:
        ((key,),) = database.execute("SELECT value FROM facts WHERE name = 'blob_key'").fetchall()
    heard = base + signed_path(key, torrent.etag, until=int(time.time()) + 60, to_look=True)
    with urllib.request.urlopen(urllib.request.Request(heard, method="HEAD"), timeout=10) as answer:
        assert answer.status == 200, "what the tracker asks"
    assert ask(heard)[0] == 401
