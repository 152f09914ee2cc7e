"""The Hub's listing of a commit, asked of the Hub itself: `GET /api/{type}s/{id}/tree/{commit}?recursive=true&expand=false`.

It comes in pages of 1,000 entries, each naming the next in a Link header. This is Internet traffic, so that the proxies of the
environment count; what comes in is bounded.
"""

from __future__ import annotations

import http.client
import json
import re
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

from llmpt.core.blob import Etag
from llmpt.core.errors import InvalidName
from llmpt.core.repo import RepoRef
from llmpt.hub.visibility import ASK_TIMEOUT_S, HubUnreachable
from llmpt_seeder.cache.listing import ListedFile, Listing, checked

MAX_PAGE_BYTES = 16 << 20
MAX_FILES = 2_000_000
MAX_WORDS = 2000
_NEXT = re.compile(r'<([^<>]+)>\s*;\s*rel="?next"?')


class HubRefused(Exception):
    """The Hub has said no: its status, its X-Error-Code ("" for none), its words, and when to ask again, if it said so."""

    def __init__(self, status: int, code: str, message: str, retry_after_s: int | None) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.retry_after_s = status, code, message, retry_after_s


def fetch_tree(
    endpoint: str, repo: RepoRef, revision: str, *, token: str | None = None, stopped: Callable[[], bool] = lambda: False
) -> Listing:
    """Return the listing of a commit, asked as nobody unless a `token` is given.

    Raises `HubRefused`, or `HubUnreachable` without an answer from which anything follows, also when it is `stopped`.
    """
    url = f"{endpoint}/api/{repo.type}s/{repo.id}/tree/{quote(revision, safe='')}?recursive=true&expand=false"
    files: dict[str, ListedFile] = {}
    following: str | None = url
    while following is not None:
        if stopped():
            raise HubUnreachable(f"{url}: stopped")
        entries, following = _page(following, token)
        try:
            for entry in entries:
                if entry["type"] == "file":
                    files[entry["path"]] = _listed(entry)
            if len(files) > MAX_FILES or (following is not None and not entries):
                raise ValueError("a listing without an end")
        except (KeyError, TypeError, ValueError, InvalidName) as error:
            raise HubUnreachable(f"{url}: {error!r:.200}") from None
    try:
        return checked(files)
    except InvalidName as error:
        raise HubUnreachable(f"{url}: {error}") from None


def _page(url: str, token: str | None) -> tuple[list[dict[str, Any]], str | None]:
    request = urllib.request.Request(url, headers={"Accept": "application/json", "User-Agent": "llmpt"})  # noqa: S310
    if token:
        request.add_unredirected_header("Authorization", f"Bearer {token}")  # a renamed repo is fetched from there without it
    try:
        with urllib.request.urlopen(request, timeout=ASK_TIMEOUT_S) as response:  # noqa: S310
            if response.headers.get("X-Llmpt-Version"):
                raise ValueError("that is a tracker of ours, which may know the commit in part only")
            body = response.read(MAX_PAGE_BYTES + 1)
            entries = json.loads(body) if len(body) <= MAX_PAGE_BYTES else None
            if not isinstance(entries, list):
                raise ValueError("not the Hub's answer (a proxy's page?)")
            return entries, _next(url, response.headers.get("Link", ""))
    except urllib.error.HTTPError as error:
        with error:
            raise refusal(error) from None
    except (OSError, http.client.HTTPException, ValueError, RecursionError) as error:
        raise HubUnreachable(f"{url}: {error}") from None


def _next(url: str, link: str) -> str | None:
    """Return the next page; raise `ValueError` when it is said to lie elsewhere (where a token has no business)."""
    found = _NEXT.search(link)
    if found is None:
        return None
    following: str = urljoin(url, found[1])
    if urlsplit(following)[:2] != urlsplit(url)[:2] or following == url:
        raise ValueError(f"a next page that lies at {following:.200}")
    return following


def refusal(error: urllib.error.HTTPError) -> HubRefused:
    """Read the Hub's no, in its own words."""
    try:
        message = json.loads(error.read(MAX_WORDS))["error"]
    except (OSError, http.client.HTTPException, ValueError, TypeError, KeyError, RecursionError):
        message = error.headers.get("X-Error-Message") or f"the Hub answered {error.code}"
    retry = error.headers.get("Retry-After", "")
    code = error.headers.get("X-Error-Code", "")
    return HubRefused(error.code, code, str(message), int(retry) if re.fullmatch(r"[0-9]{1,6}", retry) else None)


def _listed(entry: dict[str, Any]) -> ListedFile:
    lfs = entry.get("lfs")
    if lfs:
        return ListedFile(Etag(lfs["oid"]), int(lfs["size"]))
    return ListedFile(Etag(entry["oid"]), int(entry["size"]))
