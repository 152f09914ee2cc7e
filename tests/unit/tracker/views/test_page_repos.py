"""The list of repos and the page of one: words, orders, pages, what to copy."""

from __future__ import annotations

import html
import re

import pytest

from llmpt_tracker.control.messages import Swarm
from llmpt_tracker.figures import FREE_S, KEPT_TIMES, Figures
from llmpt_tracker.views.pages import routes
from llmpt_tracker.views.pages.remedies import remedy
from tests.unit.tracker.bodies import COMMIT, OTHER_COMMIT, big, elsewhere, manifest, packed, report, small, torrent
from tests.unit.tracker.conftest import Api
from tests.unit.tracker.fakes import FakeAnnouncer
from tests.unit.tracker.views.test_pages import page

SIZES = {"org/middle": 20, "org/Alpha": 30, "zoo/small": 10, "org/beta": 20, "acme/large": 40}


@pytest.fixture
def named(api: Api) -> Api:
    """Five repos: published in the order of SIZES, with so many bytes."""
    for name, size in SIZES.items():
        path = f"{name.partition('/')[2].lower()}.bin"
        assert api.publish(manifest(small(path, size), repo_id=name)).status_code == 200
    return api


def listed(text: str) -> list[str]:
    """Return the repos of a page, in their order."""
    return re.findall(r'<th scope="row" class="path"><a href="[^"]*">([^<]*)</a>', text)


def walk(api: Api, path: str) -> list[str]:
    """Return the repos of all pages, from the first on."""
    found: list[str] = []
    for _ in range(len(SIZES) + 1):
        text = page(api, path)
        found += listed(text)
        more = re.search(r'href="([^"]*)" rel="next"', text)
        if more is None:
            return found
        path = html.unescape(more[1])
    raise AssertionError(f"there is always a next page: {found}")


@pytest.mark.parametrize("size", [1, 2, 50])
@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", ["acme/large", "org/beta", "zoo/small", "org/Alpha", "org/middle"]),
        ("?sort=name", ["acme/large", "org/Alpha", "org/beta", "org/middle", "zoo/small"]),
        ("?sort=size", ["acme/large", "org/Alpha", "org/beta", "org/middle", "zoo/small"]),
        ("?q=org&sort=size", ["org/Alpha", "org/beta", "org/middle"]),
        ("?q=org+bin&sort=name", ["org/Alpha", "org/beta", "org/middle"]),
        ("?q=LARGE", ["acme/large"]),
    ],
)
def test_repos_come_in_the_order_that_is_asked_for(
    named: Api, monkeypatch: pytest.MonkeyPatch, query: str, found: list[str], size: int
) -> None:
    monkeypatch.setattr(routes, "REPOS_OF_PAGE", size)
    assert walk(named, f"/repos{query}") == found


def test_words_that_find_nothing_are_said_to(named: Api) -> None:
    assert "No repo here has a file that is found by “none &lt;b&gt;”" in page(named, "/repos?q=none+<b>")


@pytest.mark.parametrize(
    "query", ["sort=none", "cursor=none", "sort=name&cursor=Wzld", "sort=size&cursor=WyJhIiwxXQ", "q=...", f"q={'a+' * 200}"]
)
def test_what_cannot_be_listed_is_refused_in_words(named: Api, query: str) -> None:
    answer = named.get(f"/repos?{query}")
    assert (answer.status_code, answer.mimetype) == (400, "text/plain")


def test_the_page_of_a_repo_has_what_to_copy_and_links_to_each_torrent(api: Api, announcer: FakeAnnouncer) -> None:
    one = torrent("one")
    announcer.live[one.info_hash.truncated.hex()] = Swarm(41, 17, 0)
    files = (big("model.safetensors", one), small("config.json"))
    api.publish(manifest(*files, torrents=packed(one), repo_type="dataset"))
    text = html.unescape(page(api, "/repos/dataset/org/name"))
    for command in ("hf", "llmpt", "HF_ENDPOINT=http://server:8000 hf"):
        assert f">{command} download --repo-type dataset org/name<" in text
    assert api.torrents(etag=one.etag.value)[0]["magnet"].replace("localhost", "server") in text
    assert f'href="/api/v1/torrents/{one.info_hash}.torrent"' in text
    assert text.count(">.torrent<") == 1
    assert ">41<" in text
    assert ">17<" in text


def test_a_revision_says_what_of_it_is_here_and_leads_to_the_others(api: Api) -> None:
    one = torrent("one")
    api.publish(manifest(big("a.bin", one), elsewhere(small("b.json")), commit=OTHER_COMMIT, refs=["old"], torrents=packed(one)))
    api.publish(manifest(small("c.json")))
    text = page(api, "/repos/model/org/name")
    assert f"<code>{COMMIT}</code>" in text
    assert "every file" in text
    assert "the whole listing, some of the files" in text
    link = f"/repos/model/org/name/revisions/{OTHER_COMMIT}"
    assert f'href="{link}"' in text
    assert "hf download org/name --revision old<" in page(api, link)


def test_files_and_revisions_come_in_pages(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "FILES_OF_PAGE", 2)
    monkeypatch.setattr(routes, "REVISIONS_OF_PAGE", 1)
    api.publish(manifest(small("z"), commit=OTHER_COMMIT, refs=[]))
    api.publish(manifest(*(small(f"{letter}.json") for letter in "abc")))
    first = page(api, "/repos/model/org/name")
    assert "b.json" in first
    assert "c.json" not in first
    assert OTHER_COMMIT[:12] not in first
    more = re.findall(r'href="([^"]*\?(?:cursor|revisions)=[^"]*)"', first)
    assert "c.json" in page(api, html.unescape(more[0]))
    assert OTHER_COMMIT[:12] in page(api, html.unescape(more[1]).partition("#")[0])


def test_a_seeder_is_called_by_what_people_know_and_its_problem_has_a_remedy(api: Api) -> None:
    api.beat(report(problems=[{"what": "x", "reason": "LLMPT_DATA: database or disk is full"}]), seeder="0badc0de")
    text = page(api, "/servers")
    assert "0badc0de" not in text
    assert "Another seeder" in text
    assert remedy("database or disk is full") in text
    assert remedy("what is not known").startswith("The server's log")


def test_what_costs_little_is_counted_each_time_and_what_costs_much_a_part_of_the_time() -> None:
    now, calls = [0.0], [0]
    figures = Figures(monotonic=lambda: now[0])

    def count(cost_s: float) -> int:
        calls[0] += 1
        now[0] += cost_s
        return calls[0]

    assert [figures.get("cheap", lambda: count(FREE_S / 2)) for _ in range(3)] == [1, 2, 3]
    assert [figures.get("dear", lambda: count(1.0)) for _ in range(3)] == [4, 4, 4]
    now[0] += KEPT_TIMES
    assert figures.get("dear", lambda: count(1.0)) == 5
