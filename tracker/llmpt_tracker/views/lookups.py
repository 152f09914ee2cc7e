"""`POST /api/v1/lookup`: all that a machine wants to know of the files of a repo, in one question. No token."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import Any

from flask import Blueprint, Response, jsonify
from flask.typing import ResponseReturnValue
from pydantic import BaseModel, Field
from sqlalchemy.orm import Session

from llmpt.core.blob import Etag
from llmpt.core.errors import InvalidInput, InvalidName
from llmpt.core.repo import Commit, RepoRef
from llmpt_tracker.errors import Refused
from llmpt_tracker.rules import publication
from llmpt_tracker.rules.catalogue import lookups
from llmpt_tracker.rules.catalogue.lookups import FoundBlob
from llmpt_tracker.rules.reading import readable
from llmpt_tracker.state import state
from llmpt_tracker.views.access import asker
from llmpt_tracker.views.arguments import body
from llmpt_tracker.views.readers import announce_key, reader, reading

blueprint = Blueprint("lookups", __name__, url_prefix="/api/v1")

MAX_ETAGS = 1000
MAX_BODY_BYTES = 256 << 10  # three times so many etags, and some air
PEERS_OF_EACH = 50
PEERS_BESIDE = 20  # of each, where files are told of that nobody asked for: a machine hears of more when it announces


class BesideBody(BaseModel):
    """The commit of which the asker may want more files.

    `but`: those of its etags that it knows of.
    """

    model_config = publication.STRICT

    repo_type: str
    repo_id: str
    commit: str
    but: list[str] = Field(default=[], max_length=MAX_ETAGS)


class LookupBody(BaseModel):
    """What a machine asks.

    `etags`: all that it wants to know of.
    `metainfo_of`: those of them whose metainfo it does not have.
    `peers`: how many peers of each it wants.
    `beside`: the commit whose other files it may want next.
    """

    model_config = publication.STRICT

    etags: list[str] = Field(max_length=MAX_ETAGS)
    metainfo_of: list[str] = Field(default=[], max_length=MAX_ETAGS)
    peers: int = Field(default=PEERS_OF_EACH, ge=0, le=PEERS_OF_EACH)
    beside: BesideBody | None = None


class StandingBody(BaseModel):
    """The blobs of which a machine wants to know where they stand."""

    model_config = publication.STRICT

    etags: list[str] = Field(max_length=MAX_ETAGS)


@blueprint.post("/standing")
def standing() -> ResponseReturnValue:
    """Tell of each etag that a manifest names whether a publisher shares it now, and of which repos it is a file."""
    asked = publication.parse_json(StandingBody, body(MAX_BODY_BYTES, is_question=True))
    etags = list(dict.fromkeys(map(_etag, asked.etags)))
    with reading() as session:
        found = lookups.standing(session, etags)
    blobs = [
        {
            "etag": etag,
            "published": one.published,
            "repos": [{"repo_type": repo.type, "repo_id": repo.id} for repo in one.repos],
        }
        for etag, one in found.items()
    ]
    return jsonify({"blobs": blobs})


@blueprint.post("/lookup")
def lookup() -> ResponseReturnValue:
    """Tell of each etag that has a torrent: how many have it, where, and its metainfo where that is asked for; and as much of a
    commit's other files, of as many of them as an answer has room for."""
    asked = publication.parse_json(LookupBody, body(MAX_BODY_BYTES, is_question=True))
    etags = list(dict.fromkeys(map(_etag, asked.etags)))
    with reading() as session:
        seen, wanted = readable(session, etags), frozenset(asked.metainfo_of)
        found = lookups.find(session, seen, texts=state().metainfo_texts, metainfo_of=wanted)
        asked_for = len(found)
        if asked.beside is not None:
            found += _beside(session, asked.beside, {*etags, *asked.beside.but})
    peers = asked.peers if asked.beside is None else min(asked.peers, PEERS_BESIDE)
    swarms, boot_id = state().announcer.swarms([one.swarm for one in found], peers=peers, asker=str(asker()))
    there = sum(swarms[one.swarm].seeders > 0 for one in found[:asked_for])
    state().metrics.looked_up(found=there, missing=len(etags) - there)
    entries: list[dict[str, Any]] = []
    for one in found:
        swarm = swarms[one.swarm]
        entry = {"info_hash": one.info_hash.hex(), "etag": one.etag, "size": one.size}
        entry |= {"seeders": swarm.seeders, "leechers": swarm.leechers, "completed": swarm.completed}
        entry["peers"] = [peer.as_json() for peer in swarm.peers]
        if key := announce_key(one.info_hash[:20]):
            entry["announce_key"] = key
        entries.append(entry)
    about = {
        "boot_id": boot_id,
        "announce_port": state().announce_port(boot_id),
        "min_blob_bytes": state().settings.min_blob_bytes,
        **({"announce_keys": True} if reader() else {}),
    }
    return Response(_written(entries, [one.metainfo for one in found], about), mimetype="application/json")


def _beside(session: Session, asked: BesideBody, but: Collection[str]) -> list[FoundBlob]:
    """Return a commit's files, but for those that are known, as far as there is room for their metainfo."""
    try:
        repo, commit = RepoRef(asked.repo_type, asked.repo_id), Commit(asked.commit)
    except InvalidName as error:
        raise Refused(400, "bad_request", f"beside: {error}") from None
    etags = lookups.beside(session, repo, commit, but=but)
    texts, most = state().metainfo_texts, lookups.BESIDE_BYTES
    found = lookups.find(session, etags, texts=texts, metainfo_of=etags, most_bytes=most) if etags else []
    return [one for one in found if one.metainfo is not None]


def _written(entries: Sequence[dict[str, Any]], metainfo: Sequence[bytes | None], about: dict[str, Any]) -> bytes:
    """Write the answer, with megabytes of base64 as they are: to have them escaped takes longer than all the rest."""
    rows = [json.dumps(entry).encode() for entry in entries]
    whole = [
        row if text is None else b'%b, "metainfo": "%b"}' % (row[:-1], text) for row, text in zip(rows, metainfo, strict=True)
    ]
    return b'{"torrents": [%b], %b' % (b", ".join(whole), json.dumps(about).encode()[1:])


def _etag(text: str) -> str:
    try:
        return Etag(text).value
    except InvalidInput as error:
        raise Refused(400, "bad_request", f"etags: {error}") from None
