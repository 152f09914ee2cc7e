"""An answer of a tracker, read field by field, each into its type: nothing of it goes further as it came.

    with sense(url):
        answer = Answer(document, "a torrent")
        etag, size = answer.etag("etag"), answer.size("size")

Whatever does not fit raises `InvalidInput` that names the field; `sense` makes `TrackerUnavailable` of it.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from llmpt.core.blob import Etag
from llmpt.core.errors import InvalidInput, TrackerUnavailable
from llmpt.core.fields import Fields
from llmpt.core.metainfo import MAX_BLOB_BYTES, MAX_METAINFO_BYTES, InfoHash, Metainfo
from llmpt.core.networks import parse_address
from llmpt.core.repo import Commit, RefName, RepoPath, RepoRef
from llmpt.core.words import plain

MAX_WORD = 200  # characters of an id, a version, a cursor
MAX_MAGNET = 4000
MAX_CURSOR = 8000
_TOKEN = re.compile(r"[A-Za-z0-9_-]{1,200}")


class Answer(Fields):
    """One JSON object of an answer; `what` is how it is called when it makes no sense."""

    def word(self, name: str, *, longest: int = MAX_WORD) -> str:
        """Return a text of one printable line."""
        found = self.text(name, longest=longest)
        if not found.isprintable():
            raise InvalidInput(f"{name}: a printable text")
        return found

    def cursor(self, name: str) -> str:
        """Return the cursor of the next page, which may name a path."""
        return self.word(name, longest=MAX_CURSOR)

    def flag(self, name: str) -> bool:
        """Return true or false."""
        value = self.any(name)
        if not isinstance(value, bool):
            raise InvalidInput(f"{name}: true or false")
        return value

    def size(self, name: str) -> int:
        """Return the size of a file, in bytes."""
        return self.count(name, most=MAX_BLOB_BYTES)

    def port(self, name: str) -> int:
        """Return a TCP port."""
        return self.count(name, least=1, most=65535)

    def address(self, name: str) -> str:
        """Return an IP address, as the socket module writes it."""
        try:
            return str(parse_address(self.text(name, longest=MAX_WORD)))
        except ValueError:
            raise InvalidInput(f"{name}: an IP address") from None

    def etag(self, name: str = "etag") -> Etag:
        """Return the name of a blob."""
        return Etag(self.any(name))

    def info_hash(self, name: str = "info_hash") -> InfoHash:
        """Return the info-hash of a torrent."""
        return InfoHash.from_hex(self.text(name))

    def commit(self, name: str = "commit") -> Commit:
        """Return the id of a commit."""
        return Commit(self.any(name))

    def refs(self, name: str = "refs") -> tuple[RefName, ...]:
        """Return the names of refs."""
        return tuple(map(RefName, self._list(name)))

    def path(self, name: str = "path") -> RepoPath:
        """Return a path in a repo."""
        return RepoPath(self.any(name))

    def repo(self) -> RepoRef:
        """Return the repo that `repo_type` and `repo_id` name."""
        return RepoRef(self.any("repo_type"), self.any("repo_id"))

    def metainfo(self, name: str) -> Metainfo:
        """Return the torrent of a blob, sent in base64."""
        text = self.text(name, longest=2 * MAX_METAINFO_BYTES)
        try:
            raw = base64.b64decode(text, validate=True)
        except ValueError:
            raise InvalidInput(f"{name}: base64") from None
        return Metainfo.parse(raw)

    def magnet(self, name: str = "magnet") -> str:
        """Return a magnet link."""
        found = self.word(name, longest=MAX_MAGNET)
        if not found.startswith("magnet:?"):
            raise InvalidInput(f"{name}: a magnet link")
        return found

    def token(self, name: str = "token") -> str:
        """Return a token, such as stands in a header."""
        found = self.text(name)
        if not _TOKEN.fullmatch(found):
            raise InvalidInput(f"{name}: a token")
        return found

    def rows(self, name: str, what: str) -> Iterator[Answer]:
        """Yield the objects of a list; each is called `what`."""
        for row in self._list(name):
            yield Answer(row, what)

    def _list(self, name: str) -> list[Any]:
        value = self.any(name)
        if not isinstance(value, list):
            raise InvalidInput(f"{name}: a list")
        return value


@contextmanager
def sense(url: str) -> Iterator[None]:
    """Raise `TrackerUnavailable` for what of an answer of the tracker at `url` cannot be."""
    try:
        yield
    except InvalidInput as error:
        raise TrackerUnavailable(f"{url} gave an answer that makes no sense: {plain(error)}") from None
