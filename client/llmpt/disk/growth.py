"""How fast a file grows that another program writes: huggingface_hub's own temporary file, whatever it is called at the end.

Up to 1.17 it is `<stem>.incomplete`, and goes on where an earlier try stopped; since 1.18 it is `<stem>.<8 hex>.incomplete`,
another one each time. Once it is found, only that file is looked at: a folder may hold 100,000 others. It is read again only
where nothing grows, and a part of the time at most.
"""

from __future__ import annotations

import math
import os
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

SUFFIX = ".incomplete"
WINDOW_S = 3.0
TIMES_SCAN = 20.0  # a folder is left alone for so many times as long as reading it took


class Growth:
    """Watches the files that `stem`, an absolute path, begins, but for those that lie there already and are `not_these`.

    The one with the name `goes_on` counts though it lies there already.
    `done_bytes` never goes down; `rate_bytes_s` is that of the last seconds.
    """

    def __init__(
        self,
        stem: Path,
        size: int,
        *,
        not_these: frozenset[str] = frozenset(),
        goes_on: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder, self._stem, self._size, self._clock = stem.parent, stem.name, size, clock
        self._scan_at = -math.inf
        self._paths: list[str] = []
        older = {entry.name for entry in unfinished(self._folder, self._stem)} - {self._stem + SUFFIX}
        self._ignored = (older | not_these) - {goes_on}
        self._samples: deque[tuple[float, int]] = deque(maxlen=100)
        self.done_bytes = 0
        self.look()

    @property
    def rate_bytes_s(self) -> int:
        (since, before), (now, done) = self._samples[0], self._samples[-1]
        return int((done - before) / (now - since)) if now > since else 0

    def look(self) -> None:
        """See how far it is."""
        before, now = self.done_bytes, self._clock()
        self.done_bytes = max([before, *map(self._bytes_in, self._paths)])
        if self.done_bytes == before and now >= self._scan_at:
            self._paths = [entry.path for entry in unfinished(self._folder, self._stem) if entry.name not in self._ignored]
            self.done_bytes = max([before, *map(self._bytes_in, self._paths)])
            self._scan_at = now + (self._clock() - now) * TIMES_SCAN
        self._samples.append((now, self.done_bytes))
        while len(self._samples) > 2 and now - self._samples[0][0] > WINDOW_S:
            self._samples.popleft()

    def _bytes_in(self, path: str) -> int:
        try:
            found = os.lstat(path)
        except OSError:
            return 0
        if found.st_size < self._size:
            return found.st_size
        return min(self._size, found.st_blocks * 512)  # perhaps it was given its size at the start


def unfinished(folder: Path, stem: str = "") -> list[os.DirEntry[str]]:
    """Return the library's temporary files in a folder whose names `stem` begins; none where the folder is not."""
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if entry.name.startswith(stem) and entry.name.endswith(SUFFIX)]
    except OSError:
        return []
