"""What is asked of the Hub itself: which commit a revision is, which refs point at it, and its listing.

Without a token, but for repos that the operator named: then with the server's token, if it has one. This is Internet traffic, so
that the proxies of the environment count.

The Hub may be a tracker of another site. It answers as the Hub does, of what it knows or learns from its own upstream; what a
commit holds is read of its catalogue, which says whether that is all.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import quote

from llmpt.core.errors import InvalidName, TrackerError, TrackerRefused
from llmpt.core.hub_headers import NO_SUCH_COMMIT
from llmpt.core.repo import RepoRef, check_commit, check_ref
from llmpt.hub.asking import BODY_S, HubNo, HubUnreachable, ask
from llmpt.tracker.catalogue import Catalogue
from llmpt.tracker.client import TrackerClient
from llmpt.tracker.reading import ReadToken
from llmpt_seeder.cache.listing import ListedFile, Listing, checked
from llmpt_seeder.hub.tree import fetch_tree
from llmpt_seeder.publishing.card import card_in

ANY_FILE = ".gitattributes"  # every repo of the Hub begins with one


@dataclass(frozen=True, slots=True)
class Revision:
    """What a revision is on the Hub.

    public: it may be read without a token
    card: what the Hub says of the repo at that commit
    """

    commit: str
    refs: tuple[str, ...]
    public: bool
    card: Mapping[str, Any] | None = None


def token_rule(patterns: tuple[str, ...], token: str | None) -> Callable[[RepoRef], str | None]:
    """Return for which repos the server's token is used: those that a pattern of LLMPT_REPOS names. `*` names none."""

    def of(repo: RepoRef) -> str | None:
        names = (str(repo), f"{repo.type}s/{repo.id}")
        for pattern in patterns:
            literal = re.sub(r"[*?]|\[[^]]*\]", "", pattern.removeprefix(f"{repo.type}s/"))
            if re.search(r"[A-Za-z0-9]", literal) and any(fnmatchcase(name, pattern) for name in names):
                return token
        return None

    return of


class UpstreamHub:
    """The Hub at `endpoint`. Its methods raise `HubNo` with the Hub's own words, and `HubUnreachable`."""

    def __init__(self, endpoint: str, *, token: Callable[[RepoRef], str | None], stopped: Callable[[], bool]) -> None:
        self.endpoint = endpoint
        self._token, self._stopped = token, stopped
        self._is_tracker = False  # as its last answer says

    def token(self, repo: RepoRef) -> str | None:
        """Return the token that is used for a repo."""
        return self._token(repo)

    def revision(self, repo: RepoRef, revision: str) -> Revision:
        """Look a revision up. What the Hub shows without a token and gives only with one (gated) is refused as its files are."""
        token = self._token(repo)
        info = self._json(f"/api/{repo.type}s/{repo.id}/revision/{quote(revision, safe='')}", token)
        try:
            commit = check_commit(info["sha"])
        except (KeyError, TypeError, InvalidName) as error:
            raise HubUnreachable(f"{self.endpoint} names no commit of {repo}@{revision}: {error!r}") from None
        if info.get("disabled"):
            raise HubNo(403, "", "Access to this resource is disabled.", None)
        if info.get("gated") or (info.get("private") and token is None):
            self._head(repo, commit, token)
            if token is None:
                raise HubNo(403, "GatedRepo", f"Access to {repo} is restricted.", None)
        named = () if revision == commit else (revision,)
        refs = dict.fromkeys((*named, *self._refs(repo, commit, token)))
        is_hidden = info.get("gated") or info.get("private") or (self._is_tracker and token is not None)
        return Revision(commit, tuple(refs), not is_hidden, card_in(info))

    def listing(self, repo: RepoRef, commit: str) -> Listing:
        """Return what a commit holds, after its revision was looked up."""
        if self._is_tracker:
            return self._manifest(repo, commit)
        return fetch_tree(self.endpoint, repo, commit, token=self._token(repo), stopped=self._stopped)

    def _manifest(self, repo: RepoRef, commit: str) -> Listing:
        """Return what another site's tracker says that a commit holds; what it knows in part is not told as the whole."""
        tracker = TrackerClient(self.endpoint, timeout_s=BODY_S).read_with(ReadToken(lambda: self._token(repo) or ""))
        try:
            manifest = Catalogue(tracker).manifest(repo, commit)
        except TrackerRefused as no:
            raise HubNo(no.status, "", str(no)) from None
        except TrackerError as error:
            raise HubUnreachable(str(error)) from None
        if not manifest.complete:
            raise HubNo(404, NO_SUCH_COMMIT, f"{self.endpoint} knows {repo}@{commit[:12]} in part only")
        return checked({file.path.value: ListedFile(file.etag, file.size_bytes) for file in manifest.files})

    def _refs(self, repo: RepoRef, commit: str, token: str | None) -> list[str]:
        """Return the branches and tags that point at `commit`; none when the Hub doesn't say."""
        try:
            answer = self._json(f"/api/{repo.type}s/{repo.id}/refs", token)
            named = [ref for kind in ("branches", "tags") for ref in answer.get(kind, ()) if ref["targetCommit"] == commit]
            return [check_ref(ref["name"]) for ref in named]
        except (HubNo, HubUnreachable, KeyError, TypeError, InvalidName):
            return []

    def _head(self, repo: RepoRef, commit: str, token: str | None) -> None:
        """Ask for a file as its downloader does; the Hub's no is raised."""
        try:
            ask(self.endpoint + repo.file_route(commit, ANY_FILE), token=token, method="HEAD")
        except HubNo as no:
            if no.status in (401, 403):
                raise

    def _json(self, path: str, token: str | None) -> dict[str, Any]:
        reply = ask(f"{self.endpoint}{path}", token=token)
        self._is_tracker = reply.is_a_trackers
        if not isinstance(reply.document, dict):
            raise HubUnreachable(f"{self.endpoint}{path}: not the Hub's answer (a proxy's page?)")
        return dict(reply.document)
