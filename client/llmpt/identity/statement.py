"""What a server says of a commit when it signs: which files it has, which refs point at it, and when that was so.

What is signed is built anew from what was parsed, so that nothing else can stand beside it. The list of files stands in it by
its SHA-256: of one line of JSON for each, `[path, size, etag]`, in the order of paths. What lies on a disk (`here`) is not
signed: that the disk shows itself.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from llmpt.core.errors import InvalidInput
from llmpt.core.repo import Commit, RefName, RepoRef
from llmpt.identity.keys import SIGNATURE_BYTES, PublicKey, ServerKey, decoded

KIND = "llmpt manifest 1"
MAX_NAME = 64
MAX_REFS = 1000
FAR_FUTURE = 1 << 36  # seconds since 1970

Row = tuple[str, int, str]


@dataclass(frozen=True, slots=True)
class Content:
    """The commit that is meant.

    ref, commit: which
    complete: whether all of its files are listed
    files_sha256: of the list
    """

    ref: RepoRef
    commit: Commit
    complete: bool
    files_sha256: str


@dataclass(frozen=True, slots=True)
class Signature:
    """One server's word for a commit.

    key: the server's
    name: what it calls itself
    refs: that pointed at the commit then
    signed_at: when, in seconds since 1970, by the server's clock
    signature: of `message`
    """

    key: PublicKey
    name: str
    refs: tuple[RefName, ...]
    signed_at: int
    signature: bytes

    @classmethod
    def parse(cls, row: object) -> Signature:
        """Read one as it stands in an answer or on a disk; nothing is verified. Raises `InvalidInput`."""
        if not isinstance(row, Mapping):
            raise InvalidInput("a signature is an object")
        name, refs, at = row.get("name"), row.get("refs"), row.get("signed_at")
        if not isinstance(name, str) or name != plain_name(name) or type(at) is not int or not 0 <= at < FAR_FUTURE:
            raise InvalidInput("a signature has a name and a time")
        if not isinstance(refs, list) or len(refs) > MAX_REFS:
            raise InvalidInput("a signature has a list of refs")
        signature = decoded(row.get("signature"), SIGNATURE_BYTES)
        return cls(PublicKey.parse(row.get("public_key")), name, tuple(map(RefName, refs)), at, signature)

    def as_json(self) -> dict[str, Any]:
        return {
            "public_key": str(self.key),
            "name": self.name,
            "refs": list(map(str, self.refs)),
            "signed_at": self.signed_at,
            "signature": base64.b64encode(self.signature).decode(),
        }

    def verify(self, content: Content) -> None:
        """Raise `Forged` unless its key signed just this."""
        self.key.verify(self.signature, message(content, self.name, self.refs, self.signed_at))


def sign(key: ServerKey, name: str, content: Content, refs: Iterable[RefName], *, at: int | None = None) -> Signature:
    """Sign a commit in the name of a server."""
    name, named = plain_name(name), tuple(refs)
    at = int(time.time()) if at is None else at
    return Signature(key.public, name, named, at, key.sign(message(content, name, named, at)))


def message(content: Content, name: str, refs: Iterable[RefName], signed_at: int) -> bytes:
    """Return the bytes that are signed."""
    return canonical(
        {
            "kind": KIND,
            "repo_type": content.ref.type,
            "repo_id": content.ref.id,
            "commit": content.commit.value,
            "complete": content.complete,
            "files_sha256": content.files_sha256,
            "name": name,
            "refs": sorted(ref.value for ref in refs),
            "signed_at": signed_at,
        }
    )


def files_sha256(rows: Iterable[Row]) -> str:
    """Return the digest of a list of files, each (path, size, etag)."""
    hasher = sha256()
    for row in sorted(rows):
        hasher.update(canonical(row) + b"\n")
    return hasher.hexdigest()


def canonical(value: Any) -> bytes:
    """Write a value in the one way that is signed: JSON of ASCII, no blanks, keys in order."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode("ascii")


def plain_name(name: str) -> str:
    """Return a server's name for itself as it may stand on a terminal."""
    return "".join(char if char.isascii() and char.isprintable() else "?" for char in name)[:MAX_NAME]
