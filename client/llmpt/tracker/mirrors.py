"""The tracker's queue of mirrors, read page by page, each page when it is needed."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping

from llmpt.core.errors import TrackerRefused
from llmpt.core.mirrors import Mirror, mirrors_in
from llmpt.core.words import plain
from llmpt.tracker.pages import read_pages
from llmpt.tracker.wire import Wire

log = logging.getLogger("llmpt.tracker")

PAGE = "200"
MAX_ODD = 3  # of a page, that are told of


def read_mirrors(wire: Wire, query: Mapping[str, str]) -> Iterator[Mirror]:
    """Yield the mirrors that `query` finds. One that makes no sense (a newer tracker's?) is passed over."""
    for page in read_pages(wire, "/api/v1/mirrors", {"limit": PAGE, **query}, authorized=True):
        known, odd = mirrors_in(page.optional("mirrors", page.any))
        for error in odd[:MAX_ODD]:
            log.warning("a mirror of the tracker's queue is passed over: %s", plain(error))
        yield from known


def read_in_order(wire: Wire, query: Mapping[str, str]) -> Iterator[Mirror]:
    """Yield them as they are to be taken: listings first, then what was asked for first. An older tracker tells all at once."""
    found = read_mirrors(wire, {**query, "order": "next"})
    try:
        first = next(found, None)
    except TrackerRefused as error:
        if error.status != 400:
            raise
        yield from sorted(read_mirrors(wire, query), key=lambda mirror: (not mirror.ask.is_listing, mirror.id))
        return
    if first is not None:
        yield first
    yield from found
