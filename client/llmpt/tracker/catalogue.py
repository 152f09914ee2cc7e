"""What people ask a tracker: which repos it has, what is in them, how it is, and how it sees us.

    catalogue = Catalogue(TrackerClient("http://server:8000"))
    for repo in catalogue.repos("bert"):
        print(repo.ref, repo.newest.size_bytes)

All methods raise `TrackerUnavailable` or `TrackerRefused`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from llmpt.core.errors import TrackerRefused, TrackerUnavailable
from llmpt.core.repo import RepoRef
from llmpt.tracker.client import TrackerClient

PAGE = "100"


@dataclass(frozen=True, slots=True)
class Revision:
    """A commit that the LAN knows. `complete`: its whole listing is known; `files` and `size_bytes` count what is listed,
    `files_here` and `size_here_bytes` what the LAN has, too."""

    commit: str
    refs: tuple[str, ...]
    complete: bool
    files: int
    size_bytes: int
    files_here: int
    size_here_bytes: int


@dataclass(frozen=True, slots=True)
class Repo:
    """A repo that the LAN has, with its newest revisions, the newest first."""

    ref: RepoRef
    revisions: tuple[Revision, ...]


@dataclass(frozen=True, slots=True)
class File:
    """A file of a commit: its path in the repo, its size in bytes, its etag, and whether the LAN has it, or only knows of it."""

    path: str
    size_bytes: int
    etag: str
    here: bool = True


@dataclass(frozen=True, slots=True)
class Manifest:
    """The files of one commit: all of them when it is `complete`, else those that are known."""

    ref: RepoRef
    commit: str
    refs: tuple[str, ...]
    complete: bool
    files: tuple[File, ...]


@dataclass(frozen=True, slots=True)
class WhoAmI:
    """How the tracker sees this machine: from which address, and whether its peer port can be reached (None: not known)."""

    address: str
    reachable: bool | None
    version: str
    protocol: int
    oldest_client: str


class Catalogue:
    """The catalogue of one tracker."""

    def __init__(self, client: TrackerClient) -> None:
        self._client = client

    def repos(self, terms: str = "") -> list[Repo]:
        """Return the repos in whose name or paths every word of `terms` occurs; all of them without one."""
        try:
            return list(self._repos({"q": terms} if terms else {}))
        except TrackerRefused as error:
            if not terms or error.status != 400:
                raise
        # A tracker of before search: it is asked for all, and names are looked at here.
        words = terms.lower().split()
        return [repo for repo in self._repos({}) if all(word in str(repo.ref).lower() for word in words)]

    def manifest(self, ref: RepoRef, revision: str) -> Manifest:
        """Return the files of a commit, given by its id or the name of a ref. `TrackerRefused` (404): not in the LAN."""
        path = f"/api/v1/repos/{ref.type}/{quote(ref.id)}/revisions/{quote(revision)}"
        answer = self._client.get(path)
        with _sense(self._client.url):
            files = tuple(
                File(str(row["path"]), int(row["size"]), str(row["etag"]), bool(row.get("here", True))) for row in answer["files"]
            )
            return Manifest(ref, str(answer["commit"]), tuple(answer["refs"]), bool(answer["complete"]), files)

    def health(self) -> str:
        """Return the tracker's version; raise when it is not well, or is no llmpt tracker."""
        answer = self._client.get("/healthz")
        if answer.get("status") != "ok" or not isinstance(answer.get("version"), str):
            raise TrackerUnavailable(f"{self._client.url} did not answer as an llmpt tracker does")
        return str(answer["version"])

    def whoami(self, port: int | None = None) -> WhoAmI | None:
        """Ask how the tracker sees this machine and its peer port; None when it is too old to tell."""
        try:
            answer = self._client.get("/api/v1/whoami", {"port": str(port)} if port else {})
        except TrackerRefused as error:
            if error.status == 404:
                return None
            raise
        with _sense(self._client.url):
            reachable = answer.get("reachable")
            return WhoAmI(
                address=str(answer["address"]),
                reachable=reachable if isinstance(reachable, bool) else None,
                version=str(answer.get("version", "")),
                protocol=int(answer.get("protocol", 1)),
                oldest_client=str(answer.get("oldest_client", "")),
            )

    def _repos(self, query: Mapping[str, str]) -> Iterator[Repo]:
        cursor: str | None = None
        while True:
            page = self._client.get("/api/v1/repos", {**query, "limit": PAGE, **({"cursor": cursor} if cursor else {})})
            with _sense(self._client.url):
                found = [_repo(row) for row in page["repos"]]
            yield from found
            cursor = page.get("next")
            if not cursor:
                return


def _repo(row: Mapping[str, Any]) -> Repo:
    return Repo(RepoRef(row["repo_type"], row["repo_id"]), tuple(map(_revision, row["revisions"])))


def _revision(row: Mapping[str, Any]) -> Revision:
    files, size = int(row["files"]), int(row["size"])
    # A tracker of before whole listings lists nothing but what is here.
    here = int(row.get("files_here", files)), int(row.get("size_here", size))
    return Revision(str(row["commit"]), tuple(row["refs"]), bool(row["complete"]), files, size, *here)


@contextmanager
def _sense(url: str) -> Iterator[None]:
    """Translate what goes wrong while an answer is read."""
    try:
        yield
    except (KeyError, TypeError, ValueError) as error:
        raise TrackerUnavailable(f"{url} gave an answer that makes no sense: {error}") from None
