"""What the tracker has told of files beside one that was asked for: the next files of a snapshot need no question of their own.

Each word serves once, and for a moment only, for peers come and go. What nobody has is not kept: it may be here the next moment.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from llmpt.core.blob import Etag
from llmpt.core.repo import RepoCommit
from llmpt.tracker.looked_up import Beside, Lookup

KEPT_S = 15.0
KEPT_BYTES = 8 << 20  # of metainfo
MAX_COMMITS = 16
MAX_KNOWN = 1000  # of a commit, as many as a question may name


@dataclass(slots=True)
class _Word:
    of: RepoCommit
    lookup: Lookup
    until: float

    @property
    def size(self) -> int:
        return len(self.lookup.metainfo.layer) if self.lookup.metainfo is not None else 0


@dataclass(slots=True)
class _Told:
    """Of which files of a commit the tracker has told, and until when there is no more to tell."""

    known: set[Etag] = field(default_factory=set)
    all_until: float = 0.0


class ToldBeside:
    """Keeps such words, with metainfo of `kept_bytes` at most. Safe to share among threads."""

    def __init__(
        self, *, kept_s: float = KEPT_S, kept_bytes: int = KEPT_BYTES, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._kept_s, self._most_bytes, self._clock = kept_s, kept_bytes, clock
        self._lock = threading.Lock()
        self._words: OrderedDict[Etag, _Word] = OrderedDict()  # the oldest first
        self._commits: OrderedDict[RepoCommit, _Told] = OrderedDict()
        self._bytes = 0

    def take(self, etag: Etag) -> Lookup | None:
        """Return what was told of a blob, this once; None: it has to be asked for."""
        with self._lock:
            self._forget_the_old()
            word = self._words.pop(etag, None)
            if word is None:
                return None
            self._bytes -= word.size
            return word.lookup

    def question(self, of: RepoCommit) -> Beside | None:
        """Return what is to be asked of a commit beside one of its files; None: the tracker has told all."""
        with self._lock:
            self._forget_the_old()
            told = self._commits.get(of, _Told())
            if told.all_until > self._clock() or len(told.known) >= MAX_KNOWN:
                return None
            return Beside(of, tuple(sorted(told.known)))

    def keep(self, asked: Beside, found: Mapping[Etag, Lookup], wanted: tuple[Etag, ...]) -> None:
        """Keep an answer; `wanted` are those that were asked for by name, and have their answer."""
        with self._lock:
            now = self._clock()
            told = self._commits.setdefault(asked.of, _Told())
            self._commits.move_to_end(asked.of)
            told.known.update(etag for etag in wanted if found[etag].metainfo is not None)
            new = found.keys() - told.known - set(wanted)
            told.all_until = 0.0 if new else now + self._kept_s
            for etag in [etag for etag in found if etag in new][: MAX_KNOWN - len(told.known)]:
                told.known.add(etag)
                if found[etag].peers:
                    self._drop(etag)
                    self._words[etag] = word = _Word(asked.of, found[etag], now + self._kept_s)
                    self._bytes += word.size
            while self._bytes > self._most_bytes:
                self._forget(next(iter(self._words)))
            while len(self._commits) > MAX_COMMITS:
                self._commits.popitem(last=False)

    def _forget_the_old(self) -> None:
        now = self._clock()
        for etag in [etag for etag, word in self._words.items() if word.until <= now]:
            self._forget(etag)

    def _forget(self, etag: Etag) -> None:
        """Drop a word that nobody has taken: it may be told again."""
        word = self._drop(etag)
        if word is not None and (told := self._commits.get(word.of)) is not None:
            told.known.discard(etag)
            told.all_until = 0.0

    def _drop(self, etag: Etag) -> _Word | None:
        word = self._words.pop(etag, None)
        self._bytes -= word.size if word is not None else 0
        return word
