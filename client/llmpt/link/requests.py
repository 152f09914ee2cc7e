"""What the agent can be asked, over its socket: one class per request, read once by `parse`.

`op` names a request on the wire, and the other fields have the names that they have there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeAlias, TypeVar

from llmpt.core.blob import Etag
from llmpt.core.errors import InvalidInput, InvalidName
from llmpt.core.files import FileId
from llmpt.core.repo import Commit, RepoCommit, RepoPath, RepoRef
from llmpt.link import fields
from llmpt.link.fields import Message

T = TypeVar("T", bound="_OfEveryVersion")


@dataclass(frozen=True, slots=True)
class FetchRequest:
    """Asks for the content of a blob, written into a file that the hook has made.

    `tracker`: the URL of the tracker to ask; must be the agent's own.
    `etag`, `size`: the blob, and how many bytes it has.
    `repo`, `revision`, `filename`: where the Hub has it, for display and for leases; None (revision: empty) where the name
    is none of the Hub's.
    `path`: the temporary file; `file`: which file that is to the hook.
    `destination`: where the agent renames it to once verified, unless `replace` says that something is to be replaced there.
    `ordinary_rate_bytes_s`: what the asking process has measured of the ordinary path; 0 for nothing yet.
    `endpoint`: the Hub's URL, empty when unknown.
    `anonymous`: the Hub showed the file to a question without a token.
    `stem`: how the path of the library's own temporary file begins; None when that cannot be watched.
    `commit`: the commit of the Hub's answer; None when it is not known.
    """

    op: ClassVar[str] = "fetch"

    tracker: str
    etag: Etag
    size: int
    repo: RepoRef | None
    revision: str
    filename: RepoPath | None
    path: Path
    file: FileId
    destination: Path
    replace: bool
    ordinary_rate_bytes_s: int = 0
    endpoint: str = ""
    anonymous: bool = False
    stem: Path | None = None
    commit: Commit | None = None

    @property
    def of(self) -> RepoCommit | None:
        """The commit whose file it is; None when that is not known."""
        return RepoCommit(self.repo, self.commit) if self.repo and self.commit else None

    @property
    def title(self) -> str:
        """What people know the file by."""
        return f"{self.repo} {self.filename}" if self.repo and self.filename else str(self.etag)

    def as_json(self) -> Message:
        return {
            "op": self.op,
            "tracker": self.tracker,
            "etag": self.etag.value,
            "size": self.size,
            "repo_type": self.repo.type if self.repo else "",
            "repo_id": self.repo.id if self.repo else "",
            "revision": self.revision,
            "filename": self.filename.value if self.filename else "",
            "path": fields.written(self.path),
            "dev": self.file.dev,
            "ino": self.file.ino,
            "destination": fields.written(self.destination),
            "replace": self.replace,
            "ordinary_rate_bytes_s": self.ordinary_rate_bytes_s,
            "endpoint": self.endpoint,
            "anonymous": self.anonymous,
            "stem": fields.written(self.stem) if self.stem else "",
            **({"commit": self.commit.value} if self.commit else {}),
        }

    @classmethod
    def parse(cls, message: Mapping[str, Any]) -> FetchRequest:
        size = fields.whole(message, "size")
        if size <= 0:
            raise InvalidInput("size has to be above 0")
        return cls(
            tracker=fields.text(message, "tracker"),
            etag=fields.etag(message),
            size=size,
            repo=repo_named(fields.text(message, "repo_type"), fields.text(message, "repo_id")),
            revision=fields.text(message, "revision"),
            filename=path_named(fields.text(message, "filename")),
            path=fields.path(message, "path"),
            file=FileId(fields.whole(message, "dev"), fields.whole(message, "ino")),
            destination=fields.path(message, "destination"),
            replace=fields.flag(message, "replace"),
            ordinary_rate_bytes_s=fields.whole(message, "ordinary_rate_bytes_s", 0),
            endpoint=fields.text(message, "endpoint", ""),
            anonymous=fields.flag(message, "anonymous", False),
            stem=fields.path(message, "stem") if fields.text(message, "stem", "") else None,
            commit=commit_named(fields.text(message, "commit", "")),
        )


@dataclass(frozen=True, slots=True)
class FetchBegun:
    """Says that the library downloads a blob for all, as long as the connection stays open.

    `stem`: how the path of the file that it writes begins.
    """

    op: ClassVar[str] = "fetching"

    tracker: str
    etag: Etag
    stem: Path

    def as_json(self) -> Message:
        return {"op": self.op, "etag": self.etag.value, "stem": fields.written(self.stem), "tracker": self.tracker}

    @classmethod
    def parse(cls, message: Mapping[str, Any]) -> FetchBegun:
        return cls(fields.text(message, "tracker"), fields.etag(message), fields.path(message, "stem"))


@dataclass(frozen=True, slots=True)
class Landed:
    """Says where the file of a blob lies at last.

    `fetched`: it was downloaded for all.
    """

    op: ClassVar[str] = "landed"

    tracker: str
    etag: Etag
    path: Path
    fetched: bool = False

    def as_json(self) -> Message:
        return {
            "op": self.op,
            "etag": self.etag.value,
            "path": fields.written(self.path),
            "tracker": self.tracker,
            "fetched": self.fetched,
        }

    @classmethod
    def parse(cls, message: Mapping[str, Any]) -> Landed:
        fetched = message.get("fetched") is True
        return cls(fields.text(message, "tracker"), fields.etag(message), fields.path(message, "path"), fetched)


@dataclass(frozen=True, slots=True)
class Seed:
    """Asks to verify the file of a blob, and to seed it."""

    op: ClassVar[str] = "seed"

    tracker: str
    etag: Etag
    path: Path

    def as_json(self) -> Message:
        return {"op": self.op, "tracker": self.tracker, "etag": self.etag.value, "path": fields.written(self.path)}

    @classmethod
    def parse(cls, message: Mapping[str, Any]) -> Seed:
        return cls(fields.text(message, "tracker"), fields.etag(message), fields.path(message, "path"))


@dataclass(frozen=True, slots=True)
class Unseed:
    """Asks to seed these blobs no longer, also after a restart."""

    op: ClassVar[str] = "unseed"

    etags: tuple[Etag, ...]

    def as_json(self) -> Message:
        return {"op": self.op, "etags": [etag.value for etag in self.etags]}

    @classmethod
    def parse(cls, message: Mapping[str, Any]) -> Unseed:
        etags = message.get("etags")
        return cls(tuple(map(Etag, etags if isinstance(etags, list) else ())))


@dataclass(frozen=True, slots=True)
class _OfEveryVersion:
    """A request that is the same in every version of the protocol, and has no fields."""

    op: ClassVar[str]

    def as_json(self) -> Message:
        return {"op": self.op}

    @classmethod
    def parse(cls: type[T], _message: Mapping[str, Any]) -> T:
        return cls()


@dataclass(frozen=True, slots=True)
class Hello(_OfEveryVersion):
    """Asks which version of llmpt the agent is."""

    op: ClassVar[str] = "hello"


@dataclass(frozen=True, slots=True)
class Retire(_OfEveryVersion):
    """Asks the agent to make room for a newer one, unless something is under way."""

    op: ClassVar[str] = "retire"


@dataclass(frozen=True, slots=True)
class Status(_OfEveryVersion):
    """Asks what the agent does."""

    op: ClassVar[str] = "status"


@dataclass(frozen=True, slots=True)
class Stop(_OfEveryVersion):
    """Asks the agent to end."""

    op: ClassVar[str] = "stop"


Request: TypeAlias = FetchRequest | FetchBegun | Landed | Seed | Unseed | Hello | Retire | Status | Stop

REQUESTS: dict[str, type[Request]] = {
    kind.op: kind for kind in (FetchRequest, FetchBegun, Landed, Seed, Unseed, Hello, Retire, Status, Stop)
}


def parse(message: Mapping[str, Any]) -> Request:
    """Read a request; raise `InvalidInput` when it is none that this version of llmpt knows, or a field cannot be."""
    op = message.get("op")
    kind = REQUESTS.get(op) if isinstance(op, str) else None
    if kind is None:
        raise InvalidInput(f"not something this agent can do: {op!r:.40}")
    return kind.parse(message)


def is_of_every_version(message: Mapping[str, Any]) -> bool:
    """Whether `message` means the same in every version of the protocol."""
    op = message.get("op")
    return isinstance(op, str) and issubclass(REQUESTS.get(op, FetchRequest), _OfEveryVersion)


def repo_named(repo_type: str, repo_id: str) -> RepoRef | None:
    """Return the repo of that name; None when the Hub could have none."""
    try:
        return RepoRef(repo_type, repo_id)
    except InvalidName:
        return None


def commit_named(name: str) -> Commit | None:
    """Return the commit of that id; None when git could have none."""
    try:
        return Commit(name)
    except InvalidName:
        return None


def path_named(name: str) -> RepoPath | None:
    """Return the path of that name; None when the Hub could have none."""
    try:
        return RepoPath(name)
    except InvalidName:
        return None
