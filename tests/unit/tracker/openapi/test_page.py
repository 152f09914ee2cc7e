"""The page of the API shows all that the document says, and needs nothing else."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from llmpt_tracker.openapi import reading
from llmpt_tracker.openapi.document import document
from tests.unit.tracker.conftest import Api

DOCUMENT = document()


class Page(HTMLParser):
    """What a page refers to, and what can be referred to on it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.ids += [found["id"] or ""] if "id" in found else []
        self.links += [found["href"] or ""] if tag == "a" else []
        self.loaded += [found.get("src") or found.get("href") or tag] if tag in ("script", "link", "img", "iframe") else []


def page(api: Api) -> str:
    answer = api.get("/api/docs")
    assert (answer.status_code, answer.mimetype) == (200, "text/html")
    return answer.get_data(as_text=True)


def test_every_route_is_there_with_its_parameters_bodies_answers_and_scopes(api: Api) -> None:
    sections = re.findall(r"<section .*?</section>", page(api), re.DOTALL)
    for path, methods in DOCUMENT["paths"].items():
        for method, found in methods.items():
            (section,) = (one for one in sections if f"<code>{method.upper()} {path}</code></h2>" in one)
            for parameter in found.get("parameters", ()):
                assert f"<td><code>{parameter['name']}</code></td><td>{parameter['in']}</td>" in section
            for status in found["responses"]:
                assert f"<td>{status}</td>" in section
            assert ("Body: " in section) == ("requestBody" in found)
            scopes = [scope for one in found.get("security", ()) for scope in one["token"]]
            assert [f"<code>{scope}</code>" in section for scope in scopes] == [True] * len(scopes)
            assert ("No token." in section) == (scopes == [])


def test_every_link_on_it_leads_somewhere_and_nothing_comes_from_elsewhere(api: Api) -> None:
    found = Page(page(api))
    assert len(found.ids) == len(set(found.ids)) > 50
    assert {link.removeprefix("#") for link in found.links if link.startswith("#")} <= set(found.ids)
    outward = {link for link in found.links + found.loaded if not link.startswith(("#", "/"))}
    assert outward == set()
    for link in {one for one in found.links + found.loaded if one.startswith("/")}:
        with api.get(link) as answer:
            assert answer.status_code == (401 if link == "/admin" else 200), link


def test_it_stays_where_its_reader_is(api: Api) -> None:
    assert 'http-equiv="refresh"' not in page(api)
    assert '<a href="/api/docs">' in api.get("/").get_data(as_text=True), "each page leads there"


def test_fields_within_fields_have_the_way_to_them() -> None:
    found = {one.name: {field.name: field for field in one.fields} for one in reading.schemas(DOCUMENT)}
    assert found["Lookup"]["beside.but"].kind.words == "list of string"
    assert not found["Lookup"]["beside.but"].is_required
    assert found["LookedUp"]["torrents[].peers"].kind == reading.Kind("list of", "Peer")
    assert found["Peer"]["port"].kind.words == "integer, 1 to 65535"
    assert found["Report"]["hashing"].kind == reading.Kind("null or", "Hashing")


def test_a_page_that_another_site_links_to_is_shown(api: Api) -> None:
    assert (
        api.get("/api/docs", headers={"Referer": "https://elsewhere.example.com/", "User-Agent": "Mozilla/5.0"}).status_code
        == 200
    )
