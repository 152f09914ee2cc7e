"""Names of the Hub: repos, revisions, refs, and the paths of files in a repo.

Each is checked once, where it enters; inside, a `RepoRef` is valid because it exists.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from enum import Enum
from urllib.parse import quote

from llmpt.core.errors import InvalidName

REPO_TYPES = ("model", "dataset", "space", "kernel")

_ID_PART = re.compile(r"[A-Za-z0-9._-]{1,96}")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_REF_PART = re.compile(r"[^\x00-\x20\x7f~^:?*\[\\]+")
_BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
MAX_PATH_PARTS = 64
MAX_PART_BYTES = 255


@dataclass(frozen=True, slots=True, order=True)
class RepoRef:
    """A repo of the Hub: its type (model, dataset, space, kernel) and its id (`name` or `owner/name`)."""

    type: str
    id: str

    def __post_init__(self) -> None:
        if self.type not in REPO_TYPES:
            raise InvalidName(f"not a repo type (one of {', '.join(REPO_TYPES)}): {self.type!r:.80}")
        parts = self.id.split("/") if isinstance(self.id, str) else []
        if not 1 <= len(parts) <= 2 or not all(map(_is_id_part, parts)):
            raise InvalidName(f"not a repo id of the Hub (`name` or `owner/name`): {self.id!r:.120}")

    @property
    def folded(self) -> RepoRef:
        """The one that stands for all spellings: on the Hub, names in lower and upper case are the same."""
        return RepoRef(self.type, self.id.lower())

    @property
    def folder(self) -> str:
        """The name of the repo's folder in a Hub cache, e.g. `models--org--name`."""
        return "--".join([self.type + "s", *self.id.split("/")])

    @classmethod
    def from_folder(cls, folder: str) -> RepoRef:
        """Read the name of a folder of a Hub cache; raise `InvalidName` when it is not a repo's."""
        kind, _, rest = folder.partition("--")
        if not kind.endswith("s") or not rest:
            raise InvalidName(f"not a repo folder of a Hub cache: {folder!r:.120}")
        return cls(kind[:-1], rest.replace("--", "/"))

    def file_route(self, revision: str, path: str) -> str:
        """The route of a file's content on a Hub, quoted: `/org/name/resolve/main/config.json`."""
        return f"/{self}/resolve/{quote(revision, safe='')}/{quote(path)}"

    def __str__(self) -> str:
        return self.id if self.type == "model" else f"{self.type}s/{self.id}"


def _is_id_part(part: str) -> bool:
    return (
        _ID_PART.fullmatch(part) is not None
        and "--" not in part
        and ".." not in part
        and part[0] not in "-."
        and part[-1] not in "-."
        and not part.endswith(".git")
    )


@dataclass(frozen=True, slots=True, order=True)
class Commit:
    """The id of a commit: 40 lower-case hex digits. Raises `InvalidName` otherwise."""

    value: str

    def __post_init__(self) -> None:
        if not isinstance(self.value, str) or not _COMMIT.fullmatch(self.value):
            raise InvalidName(f"not a commit id (40 lower-case hex digits): {self.value!r:.80}")

    @property
    def short(self) -> str:
        """The first 12 digits, for people."""
        return self.value[:12]

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, slots=True, order=True)
class RepoCommit:
    """A commit of a repo."""

    repo: RepoRef
    commit: Commit

    def __str__(self) -> str:
        return f"{self.repo} at {self.commit.short}"


@dataclass(frozen=True, slots=True, order=True)
class RefName:
    """The name of a branch, a tag or `refs/pr/N`. Raises `InvalidName` for what git or a disk would not take."""

    value: str

    def __post_init__(self) -> None:
        text = self.value
        parts = text.split("/") if isinstance(text, str) else []
        bad = not parts or len(text) > 255 or any(not _REF_PART.fullmatch(p) or p in (".", "..") for p in parts)
        if bad or text.endswith(".lock") or ".." in text or not text.isprintable() or len(text.encode()) > MAX_PART_BYTES:
            raise InvalidName(f"not the name of a branch, tag or ref: {text!r:.80}")

    def __str__(self) -> str:
        return self.value


def check_commit(text: str) -> str:
    """Return `text` when it is a `Commit`; raise `InvalidName` otherwise."""
    return Commit(text).value


def check_ref(text: str) -> str:
    """Return `text` when it is a `RefName`; raise `InvalidName` otherwise."""
    return RefName(text).value


@dataclass(frozen=True, slots=True, order=True)
class RepoPath:
    """A path that stays inside a repo, with `/` between its names. Raises `InvalidName` otherwise.

    Refused: empty names, `.`, `..`, backslashes, NUL, control and bidirectional characters, absolute paths and drive
    letters, names over 255 bytes, more than 64 levels.
    """

    value: str

    def __post_init__(self) -> None:
        parts = self.value.split("/") if isinstance(self.value, str) else []
        if not parts or len(parts) > MAX_PATH_PARTS or not all(map(_is_path_part, parts)) or parts[0][1:2] == ":":
            raise InvalidName(f"not a path inside a repo: {self.value!r:.200}")

    def __str__(self) -> str:
        return self.value


def check_path(text: str) -> str:
    """Return `text` when it is a `RepoPath`; raise `InvalidName` otherwise."""
    return RepoPath(text).value


def _is_path_part(part: str) -> bool:
    if part in ("", ".", "..") or "\\" in part:
        return False
    if part.isascii() and part.isprintable():
        return len(part) <= MAX_PART_BYTES
    try:
        if len(part.encode()) > MAX_PART_BYTES:
            return False
    except UnicodeEncodeError:
        return False
    return not any(char in _BIDI or unicodedata.category(char) in ("Cc", "Zl", "Zp") for char in part)


@dataclass(frozen=True, slots=True)
class HubAnswer:
    """What the Hub said of a repo: whether anyone may read it, in which words, and when (seconds since 1970)."""

    public: bool
    reason: str
    asked_at: float


class Shown(str, Enum):
    """To whom a repo is shown, on a seeder's word: to all, by the Hub; its operator named it, and the Hub is not known to keep it
    from anyone; not to all."""

    PUBLIC = "public"
    NAMED = "named"
    RESTRICTED = "restricted"
