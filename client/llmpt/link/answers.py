"""What the agent says, over its socket: one class per event. `Progress` may come any number of times, the others end an answer.

`event` names one on the wire. The reader takes what makes sense: an agent of another version may say less, or more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeAlias, TypeVar

from llmpt.link import fields
from llmpt.link.fields import Message

T = TypeVar("T", bound="_Bare")

Ranges: TypeAlias = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a transfer is.

    `done_bytes` may go down (a piece that fails its hash is fetched again); 0: the agent is at work, and nothing flows yet.
    `rate_bytes_s`, `peers`: how fast, and from how many machines.
    `waiting`: nothing has come here; this is how far another machine is, that fetches the file for all.
    """

    event: ClassVar[str] = "progress"

    done_bytes: int = 0
    rate_bytes_s: int = 0
    peers: int = 0
    waiting: bool = False

    def as_json(self) -> Message:
        said = {"event": self.event, "bytes": self.done_bytes, "rate_bytes_s": self.rate_bytes_s, "peers": self.peers}
        return {**said, "waiting": True} if self.waiting else said

    @classmethod
    def parse(cls, message: Mapping[str, Any]) -> Progress:
        done_bytes, rate_bytes_s, peers = (fields.count(message, name) for name in ("bytes", "rate_bytes_s", "peers"))
        return cls(done_bytes, rate_bytes_s, peers, waiting=message.get("waiting") is True)


@dataclass(frozen=True, slots=True)
class Done:
    """The file is whole and verified.

    `moved`: the agent has renamed it to its destination; else it lies at its path, and the hook moves it.
    `bytes_from_lan`: how many bytes came from other machines; `bytes_by_http`: how many of them by a seeder's HTTP.
    `peers`: from how many machines they came.
    `seconds`: how long it took.
    """

    event: ClassVar[str] = "done"

    moved: bool
    bytes_from_lan: int = 0
    bytes_by_http: int = 0
    peers: int = 0
    seconds: float = 0.0

    def as_json(self) -> Message:
        return {
            "event": self.event,
            "moved": self.moved,
            "bytes_from_lan": self.bytes_from_lan,
            "bytes_by_http": self.bytes_by_http,
            "peers": self.peers,
            "seconds": self.seconds,
        }

    @classmethod
    def parse(cls, message: Mapping[str, Any]) -> Done:
        seconds = message.get("seconds")
        return cls(
            moved=message.get("moved") is True,
            bytes_from_lan=fields.count(message, "bytes_from_lan"),
            bytes_by_http=fields.count(message, "bytes_by_http"),
            peers=fields.count(message, "peers"),
            seconds=float(seconds) if isinstance(seconds, int | float) else 0.0,
        )


@dataclass(frozen=True, slots=True)
class Refused:
    """No, and nothing was transferred: the ordinary path.

    `reason`: why, in words for people.
    `fetch`: this machine is to fetch the file for all.
    """

    event: ClassVar[str] = "refused"

    reason: str
    fetch: bool = False

    def as_json(self) -> Message:
        return {"event": self.event, "reason": self.reason, "fetch": self.fetch}

    @classmethod
    def parse(cls, message: Mapping[str, Any]) -> Refused:
        return cls(fields.reason(message), message.get("fetch") is True)


@dataclass(frozen=True, slots=True)
class Failed:
    """The file is not whole: the ordinary path, for what is missing.

    `reason`: why, in words for people.
    `have`: the byte ranges [start, stop) of it that are at its path and verified, in order.
    `fetch`: this machine is to fetch the rest for all.
    """

    event: ClassVar[str] = "failed"

    reason: str
    have: Ranges = ()
    fetch: bool = False

    def as_json(self) -> Message:
        return {"event": self.event, "reason": self.reason, "have": [list(part) for part in self.have], "fetch": self.fetch}

    @classmethod
    def parse(cls, message: Mapping[str, Any]) -> Failed:
        return cls(fields.reason(message), _ranges(message.get("have")), message.get("fetch") is True)

    def have_of(self, size: int) -> Ranges:
        """Return what there is of a file of `size` bytes; nothing when that cannot be."""
        return self.have if not self.have or self.have[-1][1] <= size else ()


@dataclass(frozen=True, slots=True)
class Ok:
    """Done as asked.

    `path`: where a blob is seeded from; None when that was not the question.
    `count`: how many blobs are no longer seeded; None when that was not the question.
    """

    event: ClassVar[str] = "ok"

    path: Path | None = None
    count: int | None = None

    def as_json(self) -> Message:
        said: Message = {"event": self.event}
        if self.path is not None:
            said["path"] = fields.written(self.path)
        if self.count is not None:
            said["count"] = self.count
        return said

    @classmethod
    def parse(cls, message: Mapping[str, Any]) -> Ok:
        path = message.get("path")
        return cls(
            fields.read_path(path) if isinstance(path, str) else None,
            fields.count(message, "count") if "count" in message else None,
        )


@dataclass(frozen=True, slots=True)
class StatusReport:
    """What the agent does.

    `report`: all that it says, with its `version`; `llmpt status` shows it.
    """

    event: ClassVar[str] = "status"

    report: Mapping[str, Any]

    def as_json(self) -> Message:
        return {**self.report, "event": self.event}

    @classmethod
    def parse(cls, message: Mapping[str, Any]) -> StatusReport:
        return cls(dict(message))


@dataclass(frozen=True, slots=True)
class _Bare:
    """An event that has no fields."""

    event: ClassVar[str]

    def as_json(self) -> Message:
        return {"event": self.event}

    @classmethod
    def parse(cls: type[T], _message: Mapping[str, Any]) -> T:
        return cls()


@dataclass(frozen=True, slots=True)
class Greeting:
    """Here is an agent.

    `min_blob_bytes`: smaller files have no swarm, its tracker says; None: it has not said so far.
    """

    event: ClassVar[str] = "hello"

    min_blob_bytes: int | None = None

    def as_json(self) -> Message:
        said: Message = {"event": self.event}
        return said if self.min_blob_bytes is None else {**said, "min_blob_bytes": self.min_blob_bytes}

    @classmethod
    def parse(cls, message: Mapping[str, Any]) -> Greeting:
        return cls(fields.count(message, "min_blob_bytes") if message.get("min_blob_bytes") is not None else None)


@dataclass(frozen=True, slots=True)
class Retiring(_Bare):
    """The agent makes room: it takes no more work, and has left its socket's path."""

    event: ClassVar[str] = "retiring"


@dataclass(frozen=True, slots=True)
class Stopping(_Bare):
    """The agent ends."""

    event: ClassVar[str] = "stopping"


@dataclass(frozen=True, slots=True)
class Ending(_Bare):
    """The agent was ending when it was asked, and has done nothing: its successor is to be asked.

    Older agents only closed the connection; older hooks pass over this event, and then see that.
    """

    event: ClassVar[str] = "ending"

    def as_json(self) -> Message:
        return {"event": self.event, "reason": "the agent is ending"}


Answer: TypeAlias = Progress | Done | Refused | Failed | Ok | StatusReport | Greeting | Retiring | Stopping | Ending

ANSWERS: dict[str, type[Answer]] = {
    kind.event: kind for kind in (Progress, Done, Refused, Failed, Ok, StatusReport, Greeting, Retiring, Stopping, Ending)
}


def parse(message: Mapping[str, Any]) -> Answer | None:
    """Read an event; None when it is one of a later version, which is passed over."""
    event = message.get("event")
    kind = ANSWERS.get(event) if isinstance(event, str) else None
    return None if kind is None else kind.parse(message)


def _ranges(value: object) -> Ranges:
    """Read byte ranges, in order, none touching the next; nothing where they make no sense."""
    found: list[tuple[int, int]] = []
    end = -1
    for part in value if isinstance(value, list) else ():
        if not (isinstance(part, list) and len(part) == 2 and all(type(at) is int for at in part)):
            return ()
        start, stop = part
        if not end < start < stop:
            return ()
        found.append((start, stop))
        end = stop
    return tuple(found)
