"""What a tracker says of a blob, and of itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from llmpt.core.blob import Etag
from llmpt.core.errors import InvalidInput
from llmpt.core.metainfo import Metainfo
from llmpt.core.networks import parse_address
from llmpt.core.repo import RepoCommit
from llmpt.tracker.answers import Answer
from llmpt.tracker.hops import LEAST_PORT, may_name

MAX_PEERS = 500  # of one look-up


@dataclass(frozen=True, slots=True)
class Contact:
    """What the tracker says of itself.

    boot_id: which life of the announcer this is
    announce_url: where to announce
    min_blob_bytes: smaller files have no swarm; None: it does not say
    wants_keys: each torrent is announced under a key of its own
    """

    boot_id: str
    announce_url: str
    min_blob_bytes: int | None = None
    wants_keys: bool = False


@dataclass(frozen=True, slots=True)
class Lookup:
    """What the tracker says of one etag.

    metainfo: None when the catalogue does not have the etag
    peers: (address, port) to connect to
    announce_url, boot_id, min_blob_bytes: as in `Contact`
    leechers: how many of the peers are not whole
    announce_key: behind which this torrent is announced; empty: none is needed
    """

    metainfo: Metainfo | None
    peers: tuple[tuple[str, int], ...]
    announce_url: str
    boot_id: str
    leechers: int = 0
    min_blob_bytes: int | None = None
    announce_key: str = ""

    @property
    def contact(self) -> Contact:
        """What the tracker says of itself."""
        return Contact(self.boot_id, self.announce_url, self.min_blob_bytes, bool(self.announce_key))


@dataclass(frozen=True, slots=True)
class Beside:
    """Asks beside a look-up for a commit's other files.

    of: the commit
    but: those of its files that are known
    """

    of: RepoCommit
    but: tuple[Etag, ...] = ()

    def as_json(self) -> dict[str, Any]:
        repo, commit = self.of.repo, self.of.commit
        return {"repo_type": repo.type, "repo_id": repo.id, "commit": commit.value, "but": [etag.value for etag in self.but]}


def read_lookup(
    said: Contact, entry: Answer | None = None, metainfo: Metainfo | None = None, etag: Etag | None = None, at: str = ""
) -> Lookup:
    """Read one entry; without one the catalogue does not have it. `at`: where the tracker was reached, for peers beside it."""
    if entry is None or metainfo is None:
        return Lookup(None, (), said.announce_url, said.boot_id, 0, said.min_blob_bytes)
    if metainfo.etag != etag:
        raise InvalidInput(f"asked for {etag}, answered {metainfo.etag}")
    peers = [(peer.optional("address", peer.address) or at, peer.port("port")) for peer in entry.rows("peers", "a peer")]
    known = (parse_address(at),)
    fit = (peer for peer in peers if peer[1] >= LEAST_PORT and may_name(parse_address(peer[0]), known))
    unique, leechers = tuple(dict.fromkeys(fit))[:MAX_PEERS], entry.count("leechers")
    key = entry.optional("announce_key", entry.token) or ""
    return Lookup(metainfo, unique, said.announce_url, said.boot_id, leechers, said.min_blob_bytes, key)
