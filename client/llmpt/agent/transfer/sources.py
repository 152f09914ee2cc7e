"""The machines that have a blob: the catalogue's answer, as a job decides by it."""

from __future__ import annotations

import time

from llmpt.agent.directory import Directory
from llmpt.agent.transfer.sight import Away, Lacking, LookUpAnswer, Unusable
from llmpt.core.blob import Etag
from llmpt.core.errors import TrackerError, TrackerSlow
from llmpt.core.repo import RepoCommit
from llmpt.swarm import Source

AWAY_S = 0.1  # between two looks whether the tracker is back


def look_up(
    directory: Directory, etag: Etag, size: int, *, resumes: bool, worth_http_bytes: int, of: RepoCommit | None = None
) -> LookUpAnswer:
    """Ask the tracker for a blob of `size` bytes; what an earlier try left (`resumes`) is worth a look without peers, too.

    `of`: a commit that has it.
    """
    try:
        answer = directory.lookup(etag) if of is None else directory.lookup_in(of, etag)
    except TrackerError as error:
        if isinstance(error, TrackerSlow) and directory.answers:
            return Lacking(str(error))  # it has much to do: it will say when it is asked whose turn it is
        if directory.may_be_back:
            time.sleep(AWAY_S)
            return Away(str(error))
        return Unusable(str(error))
    if answer.metainfo is None:
        return Lacking("not in the tracker's catalogue")
    if answer.metainfo.size != size:
        return Unusable(f"the catalogue says {answer.metainfo.size} bytes where the Hub says {size}")
    peers = directory.alive(answer.peers)
    # A lone leecher of a lone seeder has no peer to trade with, and HTTP beside BitTorrent is faster than either.
    is_alone = len(peers) == 1 and not answer.leechers and size >= worth_http_bytes
    web_seed = directory.blob_url(etag) if is_alone or not peers else None
    if not peers and web_seed is None and not resumes:
        if not answer.peers:
            return Lacking("nobody seeds it")
        silent = "its peers did not answer a moment ago"
        return Unusable(silent) if len(answer.peers) == 1 else Lacking(silent)
    return Source(answer.metainfo, peers, answer.announce_url, web_seed, answer.announce_key)
