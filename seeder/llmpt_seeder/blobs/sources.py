"""Where the bytes of a blob come from: a file that lies in the cache, or one that still grows."""

from __future__ import annotations

import enum
import errno
import os
from collections.abc import Callable
from typing import Protocol

from llmpt.core.blob import Etag
from llmpt.disk.opening import open_file
from llmpt.disk.stamp import FileStamp
from llmpt_seeder.cache.contents import BlobFile
from llmpt_seeder.errors import InDoubt

_ANOTHER = (errno.EINVAL, errno.ENXIO)  # a pipe or the like, a socket


class FileState(enum.Enum):
    """How a file is that is sent.

    WHOLE: all of it is there, and verified
    GROWING: it arrives just now
    FAILED: it must not be sent on: it stopped growing, or its content is not what its etag says
    """

    WHOLE = "whole"
    GROWING = "growing"
    FAILED = "failed"


class OpenBlob(Protocol):
    """A blob while it is sent to one client. Used by one thread."""

    @property
    def size(self) -> int:
        """How many bytes it has when it is whole."""

    @property
    def state(self) -> FileState:
        """How it is now."""

    def available(self) -> int:
        """Return how many bytes, from the first one on, lie in the file now; all of them when it is whole."""

    def fileno(self) -> int:
        """Return a descriptor to read from."""

    def close(self) -> None:
        """Let go of the file."""


class BlobSource(Protocol):
    """Something that has blobs. Its methods are called by many threads at once."""

    def open(self, etag: Etag) -> OpenBlob | None:
        """Open the blob for one client; None when it is not here. Raises `InDoubt`."""


class FileSource:
    """The verified files of the cache. `find` says where a blob lies that may be served, and how the file was then; `has_looked`
    whether it knows by now."""

    def __init__(self, find: Callable[[Etag], BlobFile | None], *, has_looked: Callable[[], bool] = lambda: True) -> None:
        self._find, self._has_looked = find, has_looked

    def open(self, etag: Etag) -> OpenBlob | None:
        """Open the file, unless it is gone or another one by now. Raises `InDoubt` before the first look."""
        knows = self._has_looked()
        blob = self._find(etag)
        if blob is None:
            if not knows:
                raise InDoubt("the seeder has just started, and looks at what it has")
            return None
        try:
            descriptor = open_file(blob.path, follow=False)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:  # no descriptors left, a mount that is away: the file may be there all the same
            if error.errno in _ANOTHER:
                return None
            raise InDoubt(f"the file cannot be opened now: {error.strerror}") from None
        whole = _WholeFile(descriptor, blob.stamp)
        if whole.state is FileState.WHOLE:
            return whole
        whole.close()
        return None


class _WholeFile:
    def __init__(self, descriptor: int, stamp: FileStamp) -> None:
        self._descriptor, self._stamp = descriptor, stamp

    @property
    def size(self) -> int:
        return self._stamp.size

    @property
    def state(self) -> FileState:
        """A file that is written into while it is sent is no blob any more."""
        return FileState.WHOLE if self._stamp.is_same(FileStamp.of(os.fstat(self._descriptor))) else FileState.FAILED

    def available(self) -> int:
        return self.size

    def fileno(self) -> int:
        return self._descriptor

    def close(self) -> None:
        os.close(self._descriptor)
