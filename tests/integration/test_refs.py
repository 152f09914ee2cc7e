"""What the server says of a commit and of its refs, so that the LAN may answer without the Hub."""

from __future__ import annotations

import json
import sqlite3
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial

import pytest

from llmpt.core.repo import RepoRef
from llmpt.tracker.catalogue import Catalogue, Manifest
from llmpt.tracker.client import TrackerClient
from tests.support.hub import Mode
from tests.support.lan import Lan
from tests.support.waiting import eventually

FILES = {"config.json": b"{}", "README.md": b"# a model\n"}
TTL_S = 60


@pytest.fixture(scope="module")
def shared_lan(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lan]:
    root = tmp_path_factory.mktemp("lan") / "lan"
    with Lan(root, upstream=True, LLMPT_MIRROR_QUOTA="64M", LLMPT_REPOS="acme/*") as running:
        yield running


def told(lan: Lan, repo: str, revision: str = "main", *, refresh: bool = False) -> Manifest:
    catalogue = Catalogue(TrackerClient(lan.tracker.url, timeout_s=10))
    ask = catalogue.refreshed_manifest if refresh else catalogue.manifest
    return ask(RepoRef("model", repo), revision)


def has(lan: Lan, repo: str) -> bool:
    return any(str(one.ref) == repo for one in Catalogue(TrackerClient(lan.tracker.url, timeout_s=10)).repos(repo))


def is_open(lan: Lan, repo: str) -> bool:
    return has(lan, repo) and told(lan, repo).open


def learned(lan: Lan, repo: str) -> Manifest:
    """Have the listing of a repo that the Hub has come here, as a client of the server's Hub endpoint does; wait until the LAN
    may answer for it."""
    info(lan, repo)
    eventually(lambda: told(lan, repo).open, what=f"{repo} to be open")
    return told(lan, repo)


def info(lan: Lan, repo: str) -> str:
    with urllib.request.urlopen(f"{lan.tracker.url}/api/models/{repo}/revision/main", timeout=30) as answer:
        commit: str = json.load(answer)["sha"]
    return commit


def long_ago(lan: Lan, seconds: int = TTL_S + 1) -> None:
    """Let all that was asked of upstream be so much older."""
    with closing(sqlite3.connect(lan.root / "data" / "tracker.db", timeout=10)) as database, database:
        for table, columns in (("refs", ("said_at", "confirmed_at")), ("mirrors", ("ended_at", "retry_at"))):
            for column in columns:
                moved = f"strftime('%Y-%m-%d %H:%M:%f000', {column}, '-{seconds} seconds')"
                database.execute(f"UPDATE {table} SET {column} = {moved} WHERE {column} IS NOT NULL")


def questions(lan: Lan, repo: str) -> int:
    """How often the Hub was asked where a ref of a repo points."""
    return sum(request.raw_path == f"/api/models/{repo}/revision/main" for request in lan.hub.requests)


def test_a_commit_in_the_servers_cache_is_open_if_the_hub_shows_the_repo(lan: Lan) -> None:
    for name, gated in (("org/public", False), ("acme/named", False), ("acme/gated", True)):
        lan.hub.add(name, FILES, gated=gated)
        lan.mirror(name)
    for name in ("org/public", "acme/named"):
        eventually(partial(is_open, lan, name), what=f"{name} to be open")
    eventually(lambda: has(lan, "acme/gated"), what="the gated one, which was named, to be published")
    eventually(lambda: not is_open(lan, "acme/gated"), what="the gated one not to be open")
    assert told(lan, "org/public").ref_age_s is not None


def test_fifty_that_ask_where_a_ref_points_cost_the_hub_one_question_in_its_lifetime(lan: Lan, repo: str) -> None:
    old = lan.hub.add(repo, FILES)
    learned(lan, repo)
    assert (told(lan, repo, refresh=True).fresh, questions(lan, repo)) == (True, 1)
    new = lan.hub.add(repo, {**FILES, "more.txt": b"more"})
    assert told(lan, repo, refresh=True).commit.value == old, "within the lifetime of a ref"
    long_ago(lan)
    assert not told(lan, repo).fresh
    with ThreadPoolExecutor(50) as pool:
        found = list(pool.map(lambda _: told(lan, repo, refresh=True), range(50)))
    assert {(one.commit.value, one.fresh, one.complete, one.open) for one in found} == {(new, True, True, True)}
    assert questions(lan, repo) == 2
    assert info(lan, repo) == new


def test_a_ref_that_comes_back_to_a_commit_is_followed(lan: Lan, repo: str) -> None:
    first = lan.hub.add(repo, FILES)
    learned(lan, repo)
    second = lan.hub.add(repo, {**FILES, "more.txt": b"more"})
    for commit in (second, first):
        lan.hub.repos["model", repo].refs["main"] = commit
        long_ago(lan)
        assert told(lan, repo, refresh=True).commit.value == commit


@pytest.mark.parametrize("mode", [Mode(fail_status=504), Mode(fail_status=429, retry_after_s=300)], ids=["504", "429"])
def test_while_the_hub_fails_the_last_known_answer_is_given(lan: Lan, repo: str, mode: Mode) -> None:
    commit = lan.hub.add(repo, FILES)
    learned(lan, repo)
    lan.hub.mode = mode
    long_ago(lan, 3600)
    last = told(lan, repo, refresh=True)
    assert (last.commit.value, last.fresh, last.open) == (commit, False, True)
    assert last.ref_age_s is not None
    assert 3600 <= last.ref_age_s < 3700
    for _ in range(20):
        assert told(lan, repo, refresh=True).commit.value == info(lan, repo) == commit
    assert questions(lan, repo) == 2, "what failed is left alone for a minute, or as long as the Hub wants it"


@pytest.mark.alone
def test_a_hub_that_takes_its_time_is_waited_for_two_seconds_once(lan: Lan, repo: str) -> None:
    commit = lan.hub.add(repo, FILES)
    learned(lan, repo)
    long_ago(lan)
    lan.hub.mode = Mode(delay_s=3)
    began = time.monotonic()
    assert told(lan, repo, refresh=True).commit.value == commit
    took = [time.monotonic() - began]
    for _ in range(5):
        began = time.monotonic()
        told(lan, repo, refresh=True)
        took.append(time.monotonic() - began)
    assert took[0] < 2.8
    assert max(took[1:]) < 1.5, took


def test_a_repo_that_the_hub_shows_no_longer_is_closed_when_it_says_so(lan: Lan, repo: str) -> None:
    lan.hub.add(repo, FILES)
    learned(lan, repo)
    lan.hub.repos["model", repo].gated = True
    long_ago(lan)
    told(lan, repo, refresh=True)
    eventually(lambda: not told(lan, repo).open, what="the gated repo to be open no longer")
