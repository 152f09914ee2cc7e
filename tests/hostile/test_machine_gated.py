"""A machine that wants a gated repo of the LAN, for which its user has no right on the Hub."""

from __future__ import annotations

import os
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from tests.support.lan import Lan
from tests.support.waiting import eventually

REPO = "meta/gated"
ANNS, EVES, SERVERS = "hf_anns_own_token", "hf_eves_own_token", "hf_the_servers_own_token"
WEIGHTS = os.urandom(2 << 20)


@pytest.fixture(scope="module")
def lan(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lan]:
    settings = {"LLMPT_REQUIRE_READ_TOKEN": "1", "LLMPT_REPOS": "meta/*", "HF_TOKEN": SERVERS}
    with Lan(tmp_path_factory.mktemp("lan") / "lan", upstream=True, **settings) as lan:
        lan.hub.add(REPO, {"model.bin": WEIGHTS}, gated=True)
        lan.hub.repos["model", REPO].readers = frozenset({ANNS, SERVERS})
        lan.mirror(REPO)
        eventually(lambda: ask(lan, ROUTE, ANNS)[0] == 200, timeout_s=30, what="the repo to be published")
        yield lan


ROUTE = f"/{REPO}/resolve/main/model.bin"


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        return None


def ask(lan: Lan, route: str, token: str | None = None, *, stay: bool = False) -> tuple[int, str, bytes]:
    """GET; return the status, what the Hub's error or the redirect says, and the body."""
    url = route if route.startswith("http") else lan.tracker.url + route
    request = urllib.request.Request(url)
    if token:
        request.add_unredirected_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.build_opener(*([_Stay] if stay else [])).open(request, timeout=30) as answer:
            return answer.status, "", answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, str(error.headers.get("X-Error-Code") or error.headers.get("Location") or ""), b""


def test_a_gated_repo_is_for_those_whose_own_token_the_hub_accepts(lan: Lan) -> None:
    assert ask(lan, ROUTE, ANNS)[2] == WEIGHTS
    assert ask(lan, ROUTE, EVES)[:2] == (403, "GatedRepo")
    assert ask(lan, ROUTE)[:2] == (401, "GatedRepo")


def test_nothing_shows_to_others_that_the_lan_has_it(lan: Lan) -> None:
    etag = lan.hub.file(REPO, "model.bin").etag
    for route in ("/", "/api/v1/repos", f"/api/v1/torrents?etag={etag}", f"/blobs/{etag}", "/api/models"):
        for token in (None, EVES, ANNS):
            assert ask(lan, route, token)[0] == 401, route
    address = ask(lan, ROUTE, ANNS, stay=True)[1]
    assert etag in address
    port = address.split(":")[2].partition("/")[0]
    assert ask(lan, f"http://127.0.0.1:{port}/blobs/{etag}")[0] in (401, 403, 404), "not without the tracker's signature"


def test_the_token_is_on_no_disk_of_the_server_and_goes_to_nobody_but_the_hub(lan: Lan) -> None:
    assert ask(lan, ROUTE, ANNS)[0] == 200
    files = [path for path in lan.root.rglob("*") if path.is_file()] + [lan.tracker.log, lan.seeder.log]
    assert not [path for path in files if ANNS.encode() in path.read_bytes()]


def test_while_the_hub_is_away_nobody_gets_it_who_was_not_let_in_just_now(lan: Lan) -> None:
    lan.hub.mode.fail_status = 502
    try:
        assert ask(lan, ROUTE, "hf_another_one")[0] == 503
    finally:
        lan.hub.mode.fail_status = None
