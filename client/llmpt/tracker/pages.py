"""A list of the tracker's, read page by page, each when it is needed: so many pages and bytes, and no end that never comes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from llmpt.core.errors import InvalidInput, TrackerUnavailable
from llmpt.tracker.answers import Answer, sense
from llmpt.tracker.wire import Wire

MAX_PAGES = 10_000
MAX_LIST_BYTES = 128 << 20


def read_pages(wire: Wire, path: str, query: Mapping[str, str], *, authorized: bool = False) -> Iterator[Answer]:
    """Yield the pages of what is at `path`. Raises `TrackerUnavailable` for a list without end, too."""
    asked, came = dict(query), 0
    for _ in range(MAX_PAGES):
        reply = wire.call("GET", path, asked, authorized=authorized)
        came += reply.size
        if came > MAX_LIST_BYTES:
            raise TrackerUnavailable(f"{wire.url} gave a list of more than {MAX_LIST_BYTES} bytes")
        page = Answer(reply.document, "a page")
        yield page
        with sense(wire.url):
            cursor = page.optional("next", page.cursor)
            if not cursor:
                return
            if cursor == asked.get("cursor"):
                raise InvalidInput("a page that leads to itself")
            asked["cursor"] = cursor
    raise TrackerUnavailable(f"{wire.url} gave a list of more than {MAX_PAGES} pages")
