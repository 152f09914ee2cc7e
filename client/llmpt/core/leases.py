"""The words of leases: what a machine says of the files that it waits for and fetches, and what it is told.

One notation for all that speak of leases: agent and seeder ask with a `Poll`, the tracker passes it on to the announcer, and
its `LeaseAnswer` comes back. `parse` reads what JSON held, and raises `InvalidInput` naming the field; `as_json` writes it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Any, TypeVar

from llmpt.core.blob import Etag
from llmpt.core.errors import InvalidInput, InvalidName
from llmpt.core.metainfo import MAX_BLOB_BYTES
from llmpt.core.repo import RepoRef

T = TypeVar("T")
WORD = TypeVar("WORD", bound=Enum)

MAX_LINES = 2000  # of each list of a poll, and of its answer
MAX_NAME = 100  # of a fetcher, as it is shown
LONGEST_S = 3600.0
STALL_TIMEOUT_S = 5.0  # for a machine that names none

_MACHINE = re.compile(r"[A-Za-z0-9._-]{1,64}")
_repo = lru_cache(maxsize=1024)(RepoRef)  # a poll names the same one again and again


class LeaseRole(Enum):
    """What a machine is to do about a file that it wants."""

    FETCH = "fetch"  # from the Hub, for all
    WAIT = "wait"  # another one fetches it, or will
    HERE = "here"  # look it up: it is seeded


class LeaseOutcome(Enum):
    """How a fetch ended."""

    PUBLISHED = "published"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Want:
    """A file that a machine waits for; `size` in bytes."""

    etag: Etag
    size: int
    repo: RepoRef

    @classmethod
    def parse(cls, said: object) -> Want:
        fields = _fields(said, _WANT)
        return cls(_etag(fields), _bytes(fields, "size"), _repo_ref(fields))

    def as_json(self) -> dict[str, Any]:
        repo = self.repo
        return {"etag": self.etag.value, "size": self.size, "repo_type": repo.type, "repo_id": repo.id}


@dataclass(frozen=True, slots=True)
class FetchProgress:
    """How far a machine is with a file that it fetches from the Hub."""

    etag: Etag
    bytes: int
    rate_bytes_s: int

    @classmethod
    def parse(cls, said: object) -> FetchProgress:
        fields = _fields(said, _FETCHING)
        return cls(_etag(fields), _bytes(fields, "bytes"), _bytes(fields, "rate_bytes_s"))

    def as_json(self) -> dict[str, Any]:
        return {"etag": self.etag.value, "bytes": self.bytes, "rate_bytes_s": self.rate_bytes_s}


@dataclass(frozen=True, slots=True)
class Ended:
    """A file that a machine fetches no more."""

    etag: Etag
    outcome: LeaseOutcome

    @classmethod
    def parse(cls, said: object) -> Ended:
        fields = _fields(said, _ENDED)
        return cls(_etag(fields), _one_of(LeaseOutcome, fields, "outcome"))

    def as_json(self) -> dict[str, Any]:
        return {"etag": self.etag.value, "outcome": self.outcome.value}


@dataclass(frozen=True, slots=True)
class Poll:
    """All that a machine says at once.

    machine: a random name of this life of its agent
    stall_timeout_s: without progress for so long, what it fetches is another machine's
    wants: what it waits for, in its order
    fetching: what it fetches from the Hub
    ended: what it fetches no more
    unlimited: it is the appliance, which needs no share and goes before all others
    hub_rate_bytes_s: of its own way to the Hub; 0: not known, or the tracker does not ask
    """

    machine: str
    stall_timeout_s: float = STALL_TIMEOUT_S
    wants: tuple[Want, ...] = ()
    fetching: tuple[FetchProgress, ...] = ()
    ended: tuple[Ended, ...] = ()
    unlimited: bool = False
    hub_rate_bytes_s: int = 0

    @classmethod
    def parse(cls, said: object) -> Poll:
        """Read a poll. Raises `InvalidName` for a repo that the Hub would not have, `InvalidInput` for all else."""
        fields = _fields(said, _POLL)
        machine, unlimited = fields.get("machine"), fields.get("unlimited", False)
        if not isinstance(machine, str) or not _MACHINE.fullmatch(machine):
            raise InvalidInput("machine: not 1 to 64 letters, digits, dots, hyphens or underscores")
        stall_timeout_s = _seconds(fields, "stall_timeout_s", STALL_TIMEOUT_S)
        if not stall_timeout_s:
            raise InvalidInput("stall_timeout_s: must be more than 0")
        if not isinstance(unlimited, bool):
            raise InvalidInput("unlimited: neither true nor false")
        return cls(
            machine,
            stall_timeout_s,
            _each(fields, "wants", Want.parse),
            _each(fields, "fetching", FetchProgress.parse),
            _each(fields, "ended", Ended.parse),
            unlimited,
            _bytes(fields, "hub_rate_bytes_s", 0),
        )

    def as_json(self) -> dict[str, Any]:
        said: dict[str, Any] = {
            "machine": self.machine,
            "stall_timeout_s": self.stall_timeout_s,
            "wants": [want.as_json() for want in self.wants],
            "fetching": [one.as_json() for one in self.fetching],
            "ended": [one.as_json() for one in self.ended],
        }
        said |= {"unlimited": True} if self.unlimited else {}
        return said | ({"hub_rate_bytes_s": self.hub_rate_bytes_s} if self.hub_rate_bytes_s else {})


@dataclass(frozen=True, slots=True)
class Grant:
    """What a machine is told about one etag.

    fetcher: the name of the machine that fetches it; None: none does as yet, ask again
    bytes: how far that is
    rate_bytes_s: how fast
    """

    etag: Etag
    role: LeaseRole
    fetcher: str | None = None
    bytes: int = 0
    rate_bytes_s: int = 0

    @classmethod
    def parse(cls, said: object) -> Grant:
        fields = _fields(said)
        fetcher = fields.get("fetcher")
        if not (fetcher is None or isinstance(fetcher, str)):
            raise InvalidInput("fetcher: not a name")
        return cls(
            _etag(fields),
            _one_of(LeaseRole, fields, "role"),
            fetcher if fetcher is None else _shown(fetcher),
            _bytes(fields, "bytes", 0),
            _bytes(fields, "rate_bytes_s", 0),
        )

    def as_json(self) -> dict[str, Any]:
        return {
            "etag": self.etag.value,
            "role": self.role.value,
            "fetcher": self.fetcher,
            "bytes": self.bytes,
            "rate_bytes_s": self.rate_bytes_s,
        }


@dataclass(frozen=True, slots=True)
class LeaseAnswer:
    """The answer to a poll.

    grants: a line for each want
    poll_s: after how many seconds to ask again
    boot_id: of the announcer; another one after each of its starts
    asks_hub_rate: it wants to know `Poll.hub_rate_bytes_s`, which an older tracker refuses
    """

    grants: tuple[Grant, ...]
    poll_s: float
    boot_id: str = ""
    asks_hub_rate: bool = False

    @classmethod
    def parse(cls, said: object) -> LeaseAnswer:
        fields = _fields(said)
        if "leases" not in fields:
            raise InvalidInput("leases: missing")
        grants, poll_s = _each(fields, "leases", Grant.parse), _seconds(fields, "poll_s", 0.5)
        return cls(grants, poll_s, str(fields.get("boot_id", "")), fields.get("asks_hub_rate") is True)

    def as_json(self) -> dict[str, Any]:
        said = {"leases": [grant.as_json() for grant in self.grants], "poll_s": self.poll_s, "boot_id": self.boot_id}
        return said | ({"asks_hub_rate": True} if self.asks_hub_rate else {})


# What a question may hold, and nothing else; an answer may hold what a newer tracker says.
_WANT = frozenset({"etag", "size", "repo_type", "repo_id"})
_FETCHING = frozenset({"etag", "bytes", "rate_bytes_s"})
_ENDED = frozenset({"etag", "outcome"})
_POLL = frozenset({"machine", "stall_timeout_s", "wants", "fetching", "ended", "unlimited", "hub_rate_bytes_s"})


def _fields(said: object, known: frozenset[str] | None = None) -> Mapping[str, Any]:
    if not isinstance(said, dict):
        raise InvalidInput("not an object")
    if known is not None and not said.keys() <= known:
        raise InvalidInput(f"{min(said.keys() - known)!r:.80}: not a field of it")
    return said


def _each(fields: Mapping[str, Any], name: str, parse: Callable[[object], T]) -> tuple[T, ...]:
    items = fields.get(name, [])
    if not isinstance(items, list) or len(items) > MAX_LINES:
        raise InvalidInput(f"{name}: not a list of at most {MAX_LINES}")
    found: list[T] = []
    try:
        for item in items:
            found.append(parse(item))
    except InvalidInput as error:
        raise type(error)(f"{name}.{len(found)}: {error}") from None
    return tuple(found)


def _etag(fields: Mapping[str, Any]) -> Etag:
    try:
        return Etag(fields.get("etag"))  # type: ignore[arg-type]  # it looks itself
    except InvalidName as error:
        raise InvalidInput(f"etag: {error}") from None


def _repo_ref(fields: Mapping[str, Any]) -> RepoRef:
    kind, name = fields.get("repo_type"), fields.get("repo_id")
    if not (isinstance(kind, str) and isinstance(name, str)):
        raise InvalidInput("repo_type, repo_id: not two texts")
    try:
        return _repo(kind, name)
    except InvalidName as error:
        raise InvalidName(f"repo_id: {error}") from None


def _bytes(fields: Mapping[str, Any], name: str, default: int | None = None) -> int:
    value = fields.get(name, default)
    if type(value) is not int or not 0 <= value <= MAX_BLOB_BYTES:
        raise InvalidInput(f"{name}: not a whole number from 0 to {MAX_BLOB_BYTES}")
    return value


def _seconds(fields: Mapping[str, Any], name: str, default: float) -> float:
    value = fields.get(name, default)
    if type(value) not in (int, float) or not 0 <= value <= LONGEST_S:
        raise InvalidInput(f"{name}: not a number of seconds from 0 to {LONGEST_S:g}")
    return float(value)


def _one_of(kind: type[WORD], fields: Mapping[str, Any], name: str) -> WORD:
    try:
        return kind(fields.get(name))
    except ValueError:
        raise InvalidInput(f"{name}: not one of {', '.join(str(one.value) for one in kind)}") from None


def _shown(name: str) -> str:
    """Return a name fit for a log and a terminal."""
    name = name[:MAX_NAME]
    return name if name.isprintable() else "".join(char if char.isprintable() else "?" for char in name)
