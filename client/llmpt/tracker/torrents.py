"""The torrents of the catalogue, as a client sees them."""

from __future__ import annotations

from dataclasses import dataclass

from llmpt.core.metainfo import MAX_PIECE_BYTES
from llmpt.tracker.answers import Answer


@dataclass(frozen=True, slots=True)
class Appearance:
    """Where a blob appears: a path in a commit of a repo."""

    repo_type: str
    repo_id: str
    commit: str
    path: str


@dataclass(frozen=True, slots=True)
class Torrent:
    """One blob of the catalogue. `size` and `piece_length` are bytes; `info_hash` is 64 hex digits (BEP 52)."""

    info_hash: str
    etag: str
    size: int
    piece_length: int
    magnet: str
    seeders: int
    leechers: int
    completed: int
    appears_in: tuple[Appearance, ...]


def read_torrent(entry: Answer) -> Torrent:
    """Read one entry of a page of torrents. Raises `InvalidInput`."""
    return Torrent(
        info_hash=str(entry.info_hash()),
        etag=str(entry.etag()),
        size=entry.size("size"),
        piece_length=entry.count("piece_length", least=1, most=MAX_PIECE_BYTES),
        magnet=entry.magnet(),
        seeders=entry.count("seeders"),
        leechers=entry.count("leechers"),
        completed=entry.count("completed"),
        appears_in=tuple(map(_read_appearance, entry.rows("appears_in", "a place"))),
    )


def _read_appearance(place: Answer) -> Appearance:
    repo = place.repo()
    return Appearance(repo.type, repo.id, str(place.commit()), str(place.path()))
