"""What people ask a tracker: which repos it has, what is in them, how it is, and how it sees us.

    catalogue = Catalogue(TrackerClient("http://server:8000"))
    for repo in catalogue.repos("bert"):
        print(repo.ref, repo.newest.size_bytes)

All methods raise `TrackerUnavailable` or `TrackerRefused`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from llmpt.core.blob import Etag
from llmpt.core.errors import InvalidInput, TrackerRefused, TrackerUnavailable
from llmpt.core.repo import Commit, RefName, RepoPath, RepoRef
from llmpt.tracker.answers import Answer, sense
from llmpt.tracker.client import TrackerClient

PAGE = "100"


@dataclass(frozen=True, slots=True)
class Revision:
    """A commit that the LAN knows.

    commit, refs: its id, and the branches and tags that point at it
    complete: its whole listing is known
    files, size_bytes: what is listed
    files_here, size_here_bytes: what the LAN has of that, too
    """

    commit: Commit
    refs: tuple[RefName, ...]
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
    """A file of a commit.

    path: where it stands in the repo
    size_bytes, etag: its content
    here: whether the LAN has it, or only knows of it
    """

    path: RepoPath
    size_bytes: int
    etag: Etag
    here: bool = True


@dataclass(frozen=True, slots=True)
class Manifest:
    """The files of one commit: all of them when it is `complete`, else those that are known.

    open: the LAN may answer questions about the commit without the Hub; older servers never say so
    fresh: the server's upstream has just said that the ref that was asked for points here; False for a commit
    ref_age_s: seconds since that was last said, by upstream or by a publisher; None: not known, or it was asked for a commit
    hub: for which Hub it is open, as `hub_name` writes it
    """

    ref: RepoRef
    commit: Commit
    refs: tuple[RefName, ...]
    complete: bool
    files: tuple[File, ...]
    open: bool = False
    fresh: bool = False
    ref_age_s: int | None = None
    hub: str = ""


@dataclass(frozen=True, slots=True)
class WhoAmI:
    """How the tracker sees this machine.

    address: where it comes from
    reachable: whether others can connect to its peer port; None: not known
    version, protocol, oldest_client: the tracker's version, its API's, and the oldest client that it works with
    """

    address: str
    reachable: bool | None
    version: str
    protocol: int
    oldest_client: str


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a blob stands in the catalogue.

    published: a publisher shares it now, as a file of some repo
    repos: of which repos it is a file
    """

    published: bool = False
    repos: tuple[RepoRef, ...] = ()


class Catalogue:
    """The catalogue of one tracker."""

    def __init__(self, client: TrackerClient) -> None:
        self._client = client

    def repos(self, terms: str = "") -> list[Repo]:
        """Return the repos in whose name or paths every word of `terms` occurs; all of them without one."""
        return list(self._repos(terms))

    def manifest(self, ref: RepoRef, revision: str) -> Manifest:
        """Return the files of a commit, given by its id or the name of a ref. `TrackerRefused` (404): not in the LAN."""
        return self._manifest(ref, self._client.get(_route(ref, revision)))

    def refreshed_manifest(self, ref: RepoRef, revision: str) -> Manifest:
        """Return the same, after a server with an upstream has asked it where the ref points, unless that is fresh; it waits for
        that for 2 s at most, and an older one does not ask."""
        try:
            return self._manifest(ref, self._client.get(_route(ref, revision), {"refresh": "1"}))
        except TrackerRefused as error:
            if error.status != 400:
                raise
        return self.manifest(ref, revision)

    def signed_manifest(self, ref: RepoRef, revision: str) -> tuple[Manifest, object]:
        """Return the same, and the server's signature as it came; None: it does not sign, as older ones do not."""
        try:
            document = self._client.get(_route(ref, revision), {"signed": "1"})
        except TrackerRefused as error:
            if error.status not in (400, 404):
                raise
            return self.manifest(ref, revision), None
        return self._manifest(ref, document), document.get("signature")

    def _manifest(self, ref: RepoRef, document: dict[str, Any]) -> Manifest:
        """Read a manifest from its first page on; the others are those of the same commit, wherever its ref points by then."""
        with sense(self._client.url):
            answer = Answer(document, "a manifest")
            commit, refs, complete = answer.commit(), answer.refs(), answer.flag("complete")
            files = list(map(_file, answer.rows("files", "a file")))
            cursor = answer.optional("next", answer.cursor)
            said = (
                bool(answer.optional("open", answer.flag)),
                bool(answer.optional("fresh", answer.flag)),
                answer.optional("ref_age_s", answer.count),
                answer.optional("hub", answer.word) or "",
            )
        if cursor:
            for page in self._client.pages(_route(ref, commit.value), {"cursor": cursor}):
                with sense(self._client.url):
                    files += map(_file, page.rows("files", "a file"))
        with sense(self._client.url):
            if len({file.path for file in files}) < len(files):
                raise InvalidInput("a path stands in the manifest twice")
        return Manifest(ref, commit, refs, complete, tuple(files), *said)

    def where(self, etags: Sequence[Etag]) -> dict[Etag, Standing]:
        """Return where blobs stand, of those that a manifest names. `TrackerRefused` (404): it is too old to say."""
        document = self._client.question("/api/v1/standing", {"etags": [etag.value for etag in etags]})
        with sense(self._client.url):
            rows = Answer(document, "where blobs stand").rows("blobs", "a blob")
            return {
                row.etag(): Standing(row.flag("published"), tuple(one.repo() for one in row.rows("repos", "a repo")))
                for row in rows
            }

    def health(self) -> str:
        """Return the tracker's version; raise when it is not well, or is no llmpt tracker."""
        answer = Answer(self._client.get("/healthz"), "the health of a tracker")
        if answer.optional("status", answer.any) != "ok" or "version" not in answer:
            raise TrackerUnavailable(f"{self._client.url} did not answer as an llmpt tracker does")
        with sense(self._client.url):
            return answer.word("version")

    def whoami(self, port: int | None = None) -> WhoAmI:
        """Ask how the tracker sees this machine and its peer port."""
        document = self._client.get("/api/v1/whoami", {"port": str(port)} if port else {})
        with sense(self._client.url):
            answer = Answer(document, "who we are")
            return WhoAmI(
                address=answer.address("address"),
                reachable=answer.optional("reachable", answer.flag),
                version=answer.word("version"),
                protocol=answer.count("protocol"),
                oldest_client=answer.word("oldest_client"),
            )

    def _repos(self, terms: str) -> Iterator[Repo]:
        for page in self._client.pages("/api/v1/repos", {"limit": PAGE, **({"q": terms} if terms else {})}):
            with sense(self._client.url):
                found = list(map(_repo, page.rows("repos", "a repo")))
            yield from found


def _route(ref: RepoRef, revision: str) -> str:
    return f"/api/v1/repos/{ref.type}/{quote(ref.id)}/revisions/{quote(revision)}"


def _repo(row: Answer) -> Repo:
    return Repo(row.repo(), tuple(map(_revision, row.rows("revisions", "a revision"))))


def _revision(row: Answer) -> Revision:
    return Revision(
        commit=row.commit(),
        refs=row.refs(),
        complete=row.flag("complete"),
        files=row.count("files"),
        size_bytes=row.count("size"),
        files_here=row.count("files_here"),
        size_here_bytes=row.count("size_here"),
    )


def _file(row: Answer) -> File:
    return File(row.path(), row.size("size"), row.etag(), row.flag("here"))
