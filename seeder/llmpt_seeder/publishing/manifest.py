"""What is told of a commit: its files, which of them are here, what the Hub does not have, and the README's front matter."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from llmpt.core.blob import Etag
from llmpt.core.metainfo import PUBLISH_BYTES
from llmpt.core.repo import RepoRef


@dataclass(frozen=True, slots=True)
class PublishLimits:
    """How much goes in one body.

    size: bytes of JSON
    torrents, lines: so many are entered in a few seconds
    """

    size: int = PUBLISH_BYTES
    torrents: int = 500
    lines: int = 20_000


@dataclass(frozen=True, slots=True)
class Line:
    """A file of a commit; `size` in bytes; `here` when we have it, too."""

    path: str
    etag: Etag
    size: int
    here: bool

    def as_json(self) -> dict[str, object]:
        line: dict[str, object] = {"path": self.path, "size": self.size, "etag": self.etag.value, "lfs": self.etag.is_sha256}
        return line if self.here else {**line, "here": False}


@dataclass(frozen=True, slots=True)
class Manifest:
    """All that is known of one commit. `complete`: `lines` is the whole listing, by the Hub's own word."""

    repo: RepoRef
    commit: str
    refs: tuple[str, ...]
    lines: tuple[Line, ...]
    complete: bool
    absent: tuple[str, ...] = ()
    card: Mapping[str, Any] | None = None

    @property
    def name(self) -> str:
        return f"{self.repo}@{self.commit}"

    @property
    def digest(self) -> str:
        """Return what changes when anything in it does."""
        return hashlib.sha256(json.dumps(list(self.bodies()), sort_keys=True).encode()).hexdigest()

    def bodies(self, limits: PublishLimits = PublishLimits()) -> Iterator[dict[str, object]]:
        """Yield what is to be posted, in this order: files in parts that a tracker takes, and with the last all else, so that
        no ref points at a listing of which a part is missing, nor is it called complete."""
        place: dict[str, object] = {"repo_type": self.repo.type, "repo_id": self.repo.id, "commit": self.commit}
        part: list[dict[str, object]] = []
        size = 0
        for line in self.lines:
            told = line.as_json()
            length = len(json.dumps(told)) + 2
            if part and (size + length > limits.size or len(part) >= limits.lines):
                yield {**place, "refs": [], "complete": False, "files": part}
                part, size = [], 0
            part.append(told)
            size += length
        last = {**place, "refs": list(self.refs), "complete": self.complete, "files": part}
        if self.absent:
            last["absent"] = list(self.absent)
        if self.card is not None:
            last["card"] = dict(self.card)
        yield last
