"""The Hub's listing of a commit, asked of the Hub itself: `GET /api/{type}s/{id}/tree/{commit}?recursive=true&expand=false`.

It comes in pages of 1,000 entries, each naming the next in a Link header.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

from llmpt.core.blob import Etag
from llmpt.core.errors import InvalidName
from llmpt.core.repo import RepoRef
from llmpt.hub.asking import MAX_ANSWER_BYTES, HubUnreachable, ask
from llmpt_seeder.cache.listing import ListedFile, Listing, checked

_NEXT = re.compile(r'<([^<>]+)>\s*;\s*rel="?next"?')


@dataclass(frozen=True, slots=True)
class TreeLimits:
    """How much is taken for a listing.

    page_bytes: of JSON, in one page
    files: in all pages
    """

    page_bytes: int = MAX_ANSWER_BYTES
    files: int = 2_000_000


def fetch_tree(
    endpoint: str,
    repo: RepoRef,
    revision: str,
    *,
    token: str | None = None,
    stopped: Callable[[], bool] = lambda: False,
    limits: TreeLimits = TreeLimits(),
) -> Listing:
    """Return the listing of a commit, asked without a token unless one is given.

    Raises `HubNo`, or `HubUnreachable` without an answer from which anything follows, also when it is `stopped`.
    """
    url = f"{endpoint}/api/{repo.type}s/{repo.id}/tree/{quote(revision, safe='')}?recursive=true&expand=false"
    files: dict[str, ListedFile] = {}
    following: str | None = url
    while following is not None:
        if stopped():
            raise HubUnreachable(f"{url}: stopped")
        try:
            entries, following = _page(following, token, limits)
            for entry in entries:
                if entry["type"] == "file":
                    files[entry["path"]] = _listed(entry)
            if len(files) > limits.files or (following is not None and not entries):
                raise ValueError("a listing without an end")
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError, InvalidName) as error:
            raise HubUnreachable(f"{url}: {error!r:.200}") from None
    try:
        return checked(files)
    except (InvalidName, TypeError, AttributeError) as error:
        raise HubUnreachable(f"{url}: {error}") from None


def _page(url: str, token: str | None, limits: TreeLimits) -> tuple[list[dict[str, Any]], str | None]:
    reply = ask(url, token=token, most_bytes=limits.page_bytes)
    if reply.is_a_trackers:
        raise ValueError("that is a tracker of ours, which may know the commit in part only")
    if not isinstance(reply.document, list):
        raise ValueError("not the Hub's answer (a proxy's page?)")
    return reply.document, _next(url, reply.headers.get("Link", ""))


def _next(url: str, link: str) -> str | None:
    """Return the next page; raise `ValueError` when it is said to lie elsewhere (where a token has no business)."""
    found = _NEXT.search(link)
    if found is None:
        return None
    following: str = urljoin(url, found[1])
    if urlsplit(following)[:2] != urlsplit(url)[:2] or following == url:
        raise ValueError(f"a next page that lies at {following:.200}")
    return following


def _listed(entry: dict[str, Any]) -> ListedFile:
    lfs = entry.get("lfs")
    if lfs:
        return ListedFile(Etag(lfs["oid"]), int(lfs["size"]))
    return ListedFile(Etag(entry["oid"]), int(entry["size"]))
