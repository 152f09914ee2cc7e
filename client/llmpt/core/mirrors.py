"""A mirror: files of a revision that are fetched from upstream, for all clients that want them.

    MirrorAsk       what is asked for; it is what makes two mirrors the same
    MirrorReport    what the seeder says of it: how far it is, or why it does not come
    Mirror          what the tracker keeps and tells of it: both, with its number and its times

Each is one type for all: the tracker, its seeder, and the clients. `parse` raises `InvalidInput` for a field that
cannot be, and `InvalidName` for a repo or a revision that cannot be one.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass, field
from datetime import datetime
from fnmatch import fnmatchcase
from hashlib import sha256
from typing import Any

from llmpt.core.errors import InvalidInput, InvalidName
from llmpt.core.fields import Fields
from llmpt.core.networks import Address, neighbourhood
from llmpt.core.repo import RepoRef, check_commit, check_ref

UNREACHABLE = (
    "Unreachable"  # the code of an upstream that says nothing, or is not well: whatever else is asked of it now, in vain
)
MAX_PATTERNS = 1000
MAX_PATTERN = 1000
MAX_MESSAGE = 4000
MAX_CODE = 40
MAX_RETRY_S = 86400
MAX_ASKERS = 4  # of one mirror that are told apart: it is enough that there are several
MAX_ASKER = 16
MAX_MIRROR_ID = (1 << 63) - 1  # no database counts further
_COUNTS = ("files_total", "files_done", "bytes_total", "bytes_done")


class MirrorState(str, enum.Enum):
    """Where a mirror is."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"  # by an operator

    @property
    def is_open(self) -> bool:
        """Whether there is something left to do for it."""
        return self in OPEN


OPEN = (MirrorState.QUEUED, MirrorState.RUNNING)


@dataclass(frozen=True, slots=True)
class MirrorAsk:
    """What is asked for.

    repo, revision: a commit, or the name of a ref
    include: the files that one of these patterns names; none: the listing only
    """

    repo: RepoRef
    revision: str
    include: tuple[str, ...] = ()

    @classmethod
    def parse(cls, said: object, *, include: tuple[str, ...] | None = None, strict: bool = False) -> MirrorAsk:
        """Read it; `include` stands in where none is said, `strict` refuses fields that it does not have."""
        names = ("repo_type", "repo_id", "revision", "include")
        fields = Fields(said, "what is to be mirrored", only=names if strict else None)
        kind = fields.text("repo_type") if "repo_type" in fields else "model"
        repo_id = fields.text("repo_id")
        revision = fields.text("revision") if "revision" in fields else "main"
        if include is None or "include" in fields:
            include = fields.texts("include", most=MAX_PATTERNS)
        return cls(RepoRef(kind, repo_id), check_ref(revision), include)

    def as_json(self) -> dict[str, Any]:
        """Write it down as the API takes it."""
        repo = {"repo_type": self.repo.type, "repo_id": self.repo.id}
        return {**repo, "revision": self.revision, "include": list(self.include)}

    def check_patterns(self) -> None:
        """Raise `InvalidName` for a pattern that names nothing."""
        if any(not 1 <= len(pattern) <= MAX_PATTERN or not pattern.isprintable() for pattern in self.include):
            raise InvalidName(f"a pattern has 1 to {MAX_PATTERN} printable characters")

    @property
    def is_listing(self) -> bool:
        """Whether no bytes are asked for."""
        return not self.include

    @property
    def key(self) -> str:
        """The same for the same files, in whatever order they are named."""
        said = [self.repo.type, self.repo.id, self.revision, *sorted(set(self.include))]
        return sha256("\0".join(said).encode()).hexdigest()

    def names(self, path: str) -> bool:
        """Whether a file is asked for; a pattern that ends with a slash names a folder, as huggingface_hub has it."""
        return any(fnmatchcase(path, f"{one}*" if one.endswith("/") else one) for one in self.include)

    def __str__(self) -> str:
        return f"{self.repo}@{self.revision}"


def exactly(path: str) -> str:
    """Return the pattern that fits `path` and nothing else."""
    return re.sub(r"([*?[])", r"[\1]", path)


def asker_name(salt: str, address: Address) -> str:
    """Return a name for a client that asks, the same for all addresses that it may have. `salt` is the tracker's instance id:
    who holds neither it nor the address learns nothing from the name."""
    return sha256(f"{salt}:{neighbourhood(address)}".encode()).hexdigest()[:MAX_ASKER]


@dataclass(frozen=True, slots=True)
class MirrorProblem:
    """Why a mirror does not come, or not yet.

    message: upstream's words, or the seeder's
    status, code: upstream's, of HTTP and of X-Error-Code; None: it gave none
    retry_after_s: seconds until it may be tried again
    """

    message: str
    status: int | None = None
    code: str | None = None
    retry_after_s: int | None = None

    @classmethod
    def within(cls, message: str, status: int | None = None, code: str = "", retry_after_s: int | None = None) -> MirrorProblem:
        """Make one of whatever was said, cut to what a tracker takes."""
        later = None if retry_after_s is None else max(0, min(retry_after_s, MAX_RETRY_S))
        known = status if status is not None and 100 <= status <= 599 else None
        return cls(message[:MAX_MESSAGE] or "no reason was given", known, code[:MAX_CODE] or None, later)

    @classmethod
    def parse(cls, said: object, *, strict: bool = False) -> MirrorProblem:
        names = ("message", "status", "code", "retry_after_s")
        fields = Fields(said, "an error", only=names if strict else None)
        return cls(
            fields.text("message", longest=MAX_MESSAGE),
            fields.optional("status", lambda name: fields.count(name, least=100, most=599)),
            fields.optional("code", lambda name: fields.text(name, longest=MAX_CODE)),
            fields.optional("retry_after_s", lambda name: fields.count(name, most=MAX_RETRY_S)),
        )

    def as_json(self) -> dict[str, Any]:
        return {"message": self.message, "status": self.status, "code": self.code, "retry_after_s": self.retry_after_s}


@dataclass(frozen=True, slots=True)
class MirrorReport:
    """What the seeder says of a mirror.

    commit: which one the revision is; None: not known yet
    files_total, files_done, bytes_total, bytes_done: of the files that are asked for
    error: why it has failed, or waits
    """

    state: MirrorState
    commit: str | None = None
    files_total: int = 0
    files_done: int = 0
    bytes_total: int = 0
    bytes_done: int = 0
    error: MirrorProblem | None = None

    @classmethod
    def parse(cls, said: object, *, strict: bool = False) -> MirrorReport:
        fields = Fields(said, "a report", only=("state", "commit", *_COUNTS, "error") if strict else None)
        return cls(
            state_named(fields.text("state")),
            fields.optional("commit", lambda name: check_commit(fields.text(name))),
            error=fields.optional("error", lambda name: MirrorProblem.parse(fields.any(name), strict=strict)),
            **{name: fields.count(name) for name in _COUNTS if name in fields},
        )

    def as_json(self) -> dict[str, Any]:
        counts = {name: getattr(self, name) for name in _COUNTS}
        error = self.error.as_json() if self.error else None
        return {"state": self.state.value, "commit": self.commit, **counts, "error": error}


@dataclass(frozen=True, slots=True)
class Mirror:
    """A mirror as the tracker keeps it.

    id: its number
    ask: what is asked for
    report: what the seeder said last; `queued` before it said anything
    requested_at, wanted_at, ended_at: when it was queued, asked for last, and ended
    askers: some of the clients that asked, by `asker_name`, the first one first; told to publishers only
    """

    id: int
    ask: MirrorAsk
    report: MirrorReport
    requested_at: datetime
    wanted_at: datetime
    ended_at: datetime | None = field(default=None)
    askers: tuple[str, ...] = ()

    @classmethod
    def parse(cls, said: object) -> Mirror:
        """Read what a tracker tells; fields that a newer one may add are passed over."""
        fields = Fields(said, "a mirror")
        return cls(
            fields.count("id", most=MAX_MIRROR_ID),
            MirrorAsk.parse(said),
            MirrorReport.parse(said),
            _moment(fields.text("requested_at")),
            _moment(fields.text("wanted_at")),
            fields.optional("ended_at", lambda name: _moment(fields.text(name))),
            fields.texts("askers", most=MAX_ASKERS) if "askers" in fields else (),
        )

    def as_json(self, *, askers: bool = False) -> dict[str, Any]:
        """Write it down as the API tells it; `askers`: with those."""
        times = {"requested_at": self.requested_at.isoformat(), "wanted_at": self.wanted_at.isoformat()}
        ended = None if self.ended_at is None else self.ended_at.isoformat()
        return {"id": self.id, **self.ask.as_json(), **self.report.as_json(), **times, "ended_at": ended} | (
            {"askers": list(self.askers)} if askers else {}
        )

    @property
    def may_have_more_askers(self) -> bool:
        """Whether another client that asks is to be noted."""
        return len(self.askers) < MAX_ASKERS

    @property
    def state(self) -> MirrorState:
        return self.report.state

    @property
    def error(self) -> MirrorProblem | None:
        return self.report.error


def state_named(text: str) -> MirrorState:
    """Read the name of a state; raise `InvalidInput` for another word."""
    try:
        return MirrorState(text)
    except ValueError:
        raise InvalidInput(f"state: any of {', '.join(state.value for state in MirrorState)}") from None


def _moment(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise InvalidInput(f"not a moment: {text!r:.40}") from None


def mirrors_in(told: object) -> tuple[list[Mirror], list[InvalidInput]]:
    """Read a list of mirrors; return those that make sense, and what is odd about the others (a newer tracker's?)."""
    found: list[Mirror] = []
    odd: list[InvalidInput] = []
    for said in told if isinstance(told, list) else ():
        try:
            found.append(Mirror.parse(said))
        except InvalidInput as error:
            odd.append(error)
    return found, odd
