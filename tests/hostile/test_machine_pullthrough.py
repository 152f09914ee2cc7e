"""A machine without a token, and a server that fetches from the Hub what is not there: made-up names, and a cache to fill."""

from __future__ import annotations

import http.client
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest

from tests.support.lan import Lan

MIB = 1 << 20
ANN, BOB, EVE, MALLORY = "127.0.0.2", "127.0.0.3", "127.0.0.66", "127.0.0.67"


@pytest.fixture(scope="module")
def lan(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lan]:
    with Lan(tmp_path_factory.mktemp("lan") / "lan", upstream=True, LLMPT_MIRROR_QUOTA="24M") as running:
        yield running


def get(url: str, source: str) -> tuple[int, bytes]:
    """GET from an address of one's own, along redirects; return status and body."""
    for _ in range(3):
        at = urlsplit(url)
        connection = http.client.HTTPConnection(at.hostname or "", at.port, timeout=30, source_address=(source, 0))
        try:
            connection.request("GET", f"{at.path}?{at.query}" if at.query else at.path)
            with connection.getresponse() as answer:
                body, url = answer.read(), answer.headers.get("Location", "")
                if answer.status != 302:
                    return answer.status, body
        finally:
            connection.close()
    raise AssertionError("redirected in a circle")


def in_the_cache(lan: Lan) -> int:
    return sum(path.stat().st_size for path in (lan.root / "data" / "mirror").glob("*--*/blobs/*"))


def test_made_up_names_cost_the_hub_little_and_others_nothing(lan: Lan) -> None:
    lan.hub.add("org/real", {"config.json": b"{}"})
    before = len(lan.hub.requests)
    with ThreadPoolExecutor(24) as pool:
        urls = [f"{lan.tracker.url}/api/models/made/up-{number}" for number in range(400)]
        said = [status for status, _ in pool.map(lambda url: get(url, EVE), urls)]
    assert set(said) <= {401, 404, 429}
    assert said.count(429) > 300
    assert len(lan.hub.requests) - before < 90, "each of the 400 would be a question"
    assert get(f"{lan.tracker.url}/api/models/org/real", ANN)[0] == 200


def test_revisions_of_a_repo_that_is_not_there_cost_the_hub_one_question(lan: Lan) -> None:
    assert get(f"{lan.tracker.url}/api/models/no/repo", MALLORY)[0] == 401
    before = len(lan.hub.requests)
    for number in range(20):
        assert get(f"{lan.tracker.url}/no/repo/resolve/branch-{number}/config.json", MALLORY)[0] == 401
    assert len(lan.hub.requests) == before


def test_what_one_machine_has_fetched_leaves_what_several_wanted(lan: Lan) -> None:
    popular = os.urandom(8 * MIB)
    lan.hub.add("org/popular", {"model.bin": popular})
    for number in range(4):
        lan.hub.add(f"org/junk-{number}", {"model.bin": os.urandom(9 * MIB)})
    for machine in (ANN, BOB):
        assert get(f"{lan.tracker.url}/org/popular/resolve/main/model.bin", machine) == (200, popular)
    for number in range(4):
        assert get(f"{lan.tracker.url}/org/junk-{number}/resolve/main/model.bin", MALLORY)[0] == 200
        assert in_the_cache(lan) <= 24 * MIB
        assert list((lan.root / "data" / "mirror").glob("models--org--popular/snapshots/*/model.bin"))
    gets = lan.hub.gets("model.bin")
    assert get(f"{lan.tracker.url}/org/popular/resolve/main/model.bin", ANN) == (200, popular)
    assert lan.hub.gets("model.bin") == gets
