"""Blobs that lie in a folder, one that grows as it is told, and what a client says to a blob server."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Callable
from pathlib import Path
from random import Random

from llmpt.core.blob import Etag
from llmpt.disk.stamp import FileStamp
from llmpt_seeder.blobs import BlobServer, FileState, OpenBlob
from llmpt_seeder.cache.contents import BlobFile
from tests.support.cache_builder import lfs_sha256

CONTENT = Random(1).randbytes(3 << 20)  # the tests' names hold its etag
ETAG = Etag(lfs_sha256(CONTENT))
PATH = f"/blobs/{ETAG}"

Serve = Callable[..., BlobServer]


class Shelf:
    """The files of one folder, by etag."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files: dict[Etag, BlobFile] = {}

    def put(self, content: bytes) -> BlobFile:
        etag = Etag(lfs_sha256(content))
        path = self.folder / etag.value
        path.write_bytes(content)
        self.files[etag] = BlobFile(etag, path, FileStamp.of(path.stat()))
        return self.files[etag]


class GrowingFile:
    """A source with one blob, which has as many bytes as it was told."""

    def __init__(self, path: Path, etag: Etag, size: int) -> None:
        self.path, self.etag, self.size = path, etag, size
        self.state = FileState.GROWING
        self.opened = self.closed = 0
        path.touch()

    def grow(self, data: bytes) -> None:
        with self.path.open("ab") as file:
            file.write(data)

    def open(self, etag: Etag) -> OpenBlob | None:
        if etag != self.etag:
            return None
        self.opened += 1
        return _Growing(self)


class _Growing:
    def __init__(self, file: GrowingFile) -> None:
        self._growing, self._file = file, file.path.open("rb")
        self.size = file.size

    @property
    def state(self) -> FileState:
        return self._growing.state

    def available(self) -> int:
        return self._growing.path.stat().st_size

    def fileno(self) -> int:
        return self._file.fileno()

    def close(self) -> None:
        self._growing.closed += 1
        self._file.close()


def ask(server: BlobServer, path: str = PATH, method: str = "GET", **fields: str) -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    try:
        connection.request(method, path, headers={name.replace("_", "-"): text for name, text in fields.items()})
        answer = connection.getresponse()
        return answer, answer.read()
    finally:
        connection.close()


def connect(server: BlobServer, *, timeout_s: float = 10) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=timeout_s)


def read_to_end(sock: socket.socket) -> bytes:
    data = b""
    while chunk := sock.recv(1 << 20):
        data += chunk
    return data
