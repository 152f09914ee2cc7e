"""The file that a hook has made to be filled: a path names it as long as no other program removes or replaces it."""

from __future__ import annotations

import os
from pathlib import Path

from llmpt.core.errors import LlmptError
from llmpt.core.files import FileId


class FileTaken(LlmptError):
    """The path leads to another file than the hook's, or to none."""


class Target:
    """The `file` of a hook, open under its `path`; `close` it. `descriptor` stays that file, whatever becomes of the path."""

    def __init__(self, path: Path, file: FileId) -> None:
        """Raises `FileTaken`, or `OSError` when it cannot be opened."""
        self.path, self._file = path, file
        try:
            self.descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except FileNotFoundError:
            raise _taken(path) from None
        if FileId.of(os.fstat(self.descriptor)) != file:
            self.close()
            raise _taken(path)

    def __enter__(self) -> Target:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def is_at(self, path: Path) -> bool:
        """Whether `path` leads to it now."""
        try:
            return FileId.of(path.lstat()) == self._file
        except OSError:
            return False

    def check(self) -> None:
        """Raise `FileTaken` unless its path leads to it still."""
        if not self.is_at(self.path):
            raise _taken(self.path)


def _taken(path: Path) -> FileTaken:
    return FileTaken(f"another program has removed or replaced {path.name}")
