"""What the engine reads off libtorrent ten times a second while something is on its way, and once a second always."""

from __future__ import annotations

import time
from typing import Any

import libtorrent as lt

from llmpt.swarm.download import HTTP, Download
from llmpt.swarm.types import Receiver, Totals

_NOT_YET = lt.peer_info.connecting | lt.peer_info.handshake
_WEB_SEEDS = frozenset({int(lt.peer_info.web_seed), int(lt.peer_info.http_seed)})
SHARED_EVERY_S = 0.3
_IN_ORDER = lt.torrent_flags.sequential_download


def sample(handle: Any, download: Download) -> None:
    """Bring `download` up to date with what libtorrent says of its torrent."""
    connected = [peer for peer in handle.get_peer_info() if not peer.flags & _NOT_YET]
    for peer in connected:
        seeder = bool(peer.flags & lt.peer_info.seed) and not _is_web_seed(peer)
        download.note_bytes(_source(peer), (str(peer.ip[0]), int(peer.ip[1])), int(peer.total_download), seeder=seeder)
    status = handle.status(lt.torrent_handle.query_pieces)
    done = int(status.total_done)
    moved = (done, len(connected)) != (download.bytes_done, download.peers)
    download.bytes_done, download.peers = done, len(connected)
    download.leechers = sum(not peer.flags & lt.peer_info.seed for peer in connected)
    download.rate_bytes_s = int(status.download_payload_rate)
    if not download.checking:
        download.note_pieces(status.pieces)
    _choose_order(handle, download, alone=not download.leechers)
    _take_share(handle, download, connected, status.pieces)
    download.seen_at = time.monotonic()
    if moved:
        download.touch()


def settle(handle: Any, download: Download) -> None:
    """Account for the last bytes of a finished download: a seeder hangs up at once, perhaps before any were counted."""
    sample(handle, download)
    here = {_source(peer) for peer in handle.get_peer_info()}
    uncounted = download.metainfo.size - download.resumed_bytes - sum(download.bytes_by_peer.values())
    told = {f"{address}:{port}" for address, port in download.told_peers}
    gone = (download.bytes_by_peer.keys() - here) or (told - here)
    if uncounted > 0 and len(gone) == 1:
        name = gone.pop()
        download.bytes_by_peer[name] = download.bytes_by_peer.get(name, 0) + uncounted


def verified(handle: Any, download: Download) -> tuple[tuple[int, int], ...]:
    """Return the byte ranges [start, stop) of the file that are on disk and hash to the metainfo."""
    length, size = download.metainfo.piece_length, download.metainfo.size
    found: list[tuple[int, int]] = []
    for index, there in enumerate(handle.status(lt.torrent_handle.query_pieces).pieces):
        if there:
            start, stop = index * length, min((index + 1) * length, size)
            if found and found[-1][1] == start:
                start = found.pop()[0]
            found.append((start, stop))
    return tuple(found)


def receivers(handle: Any) -> tuple[Receiver, ...]:
    """Return the peers that take bytes of a torrent at this moment."""
    peers = (peer for peer in handle.get_peer_info() if peer.payload_up_speed)
    return tuple(Receiver(str(peer.ip[0]), int(peer.payload_up_speed)) for peer in peers)


def count(values: dict[str, int], before: Totals, *, elapsed_s: float) -> Totals:
    """Read the session's counters."""
    up, down = values["net.sent_payload_bytes"], values["net.recv_payload_bytes"]
    return Totals(
        uploaded_bytes=up,
        downloaded_bytes=down,
        upload_rate_bytes_s=int((up - before.uploaded_bytes) / elapsed_s),
        download_rate_bytes_s=int((down - before.downloaded_bytes) / elapsed_s),
        peers=values["peer.num_peers_connected"],
    )


def _is_web_seed(peer: Any) -> bool:
    return int(peer.connection_type) in _WEB_SEEDS


def _source(peer: Any) -> str:
    """Return the name under which bytes of this peer are counted."""
    return HTTP if _is_web_seed(peer) else f"{peer.ip[0]}:{peer.ip[1]}"


def _choose_order(handle: Any, download: Download, *, alone: bool) -> None:
    """Let pieces come in order where no other leecher trades: what has arrived can be hashed while the rest comes.

    And what is missing when a peer dies is one stretch. The wait before is for machines that start together.
    """
    now = time.monotonic()
    if not alone or not download.peers:
        download.alone_since = None
    elif download.alone_since is None:
        download.alone_since = now
    in_order = download.alone_since is not None and now - download.alone_since >= download.alone_s
    if in_order != download.in_order:
        download.in_order = in_order
        if in_order:
            handle.set_flags(_IN_ORDER)
        else:
            handle.unset_flags(_IN_ORDER)


def _take_share(handle: Any, download: Download, connected: list[Any], there: list[bool]) -> None:
    """Let this machine's own pieces come first, while other leechers take theirs."""
    now = time.monotonic()
    if download.shares is None or (download.leechers and now < download.shared_at + SHARED_EVERY_S):
        return
    download.shared_at = now
    leechers = [peer.pid.to_bytes() for peer in connected if not peer.flags & lt.peer_info.seed]
    seeds = len(connected) - len(leechers)
    counts = handle.piece_availability() if leechers else []
    lacking = [piece for piece, count in enumerate(counts) if count <= seeds and not there[piece]]
    priorities = download.shares.among(leechers, lacking)
    if priorities is not None:
        handle.prioritize_pieces(priorities)
