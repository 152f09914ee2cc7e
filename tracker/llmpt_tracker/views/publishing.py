"""Routes of a publisher: `POST /api/v1/publish`, `PUT /api/v1/seeders/<id>` and `GET /api/v1/seeders/<id>/holdings`. They take a
bearer token; a machine that shares may publish single torrents."""

from __future__ import annotations

import logging
import re
from functools import partial
from typing import Annotated, Any

from flask import Blueprint, jsonify
from flask.typing import ResponseReturnValue
from pydantic import AfterValidator, BaseModel, Field
from sqlalchemy.orm import Session

from llmpt.core.metainfo import MAX_PUBLISH_BYTES
from llmpt.core.words import plain
from llmpt_tracker.database.models import PublisherToken
from llmpt_tracker.errors import Refused
from llmpt_tracker.rules import audit, holders, publication, publish, servers, tokens
from llmpt_tracker.rules.audit import Actor
from llmpt_tracker.rules.catalogue import repos
from llmpt_tracker.rules.rights import PUBLISH, SHARE, check_names, is_publisher
from llmpt_tracker.state import state
from llmpt_tracker.views.access import asker
from llmpt_tracker.views.arguments import arguments, body
from llmpt_tracker.views.holders import Pace, holder

log = logging.getLogger(__name__)
blueprint = Blueprint("publishing", __name__, url_prefix="/api/v1")

MAX_REPORT_BYTES = 256 << 10
MAX_SINGLE = 256  # torrents that a machine publishes at once: what its programs fetched within a moment
PACE = Pace("publish", 5, 50)
BEATS = Pace("heartbeats", 5, 50)
HOLDINGS = Pace("holdings", 1, 10)
ALIVE_S = 30.0  # seconds since the last heartbeat

Printable = Annotated[
    str, AfterValidator(partial(plain, longest=4000))
]  # on the page, and by commands: names of files may hold anything


class Hashing(BaseModel):
    """How far a seeder is with reading new blobs.

    `blobs_done`, `blobs_total`: how many were read, of how many.
    `bytes_done`, `bytes_total`: the same in bytes.
    `current`: the file in hand.
    """

    model_config = publication.STRICT

    blobs_done: int = Field(ge=0)
    blobs_total: int = Field(ge=0)
    bytes_done: int = Field(ge=0)
    bytes_total: int = Field(ge=0)
    current: Printable | None = Field(default=None, max_length=1000)


class Problem(BaseModel):
    """Something that a seeder could not share, and why."""

    model_config = publication.STRICT

    what: Printable = Field(max_length=4000)
    reason: Printable = Field(max_length=4000)


class SeederReportBody(BaseModel):
    """What a seeder says of itself.

    `port`: where its peers reach it.
    `version`: its version of llmpt.
    `blobs`, `bytes`: how much it seeds.
    `uploaded_bytes`, `upload_rate_bytes_s`: how much it has sent by BitTorrent, and sends now.
    `blob_port`: where it serves files over HTTP.
    `blob_tls`: it speaks TLS there.
    `http_bytes`: how much it has sent there since its start; `peer_http_bytes`: of that, to peers of swarms.
    `upstream`: the Hub from which it fetches what the LAN does not have.
    `hashing`: how far it is with reading new blobs; None when there is nothing to read.
    `problems`: what it could not share.
    """

    model_config = publication.STRICT

    port: int = Field(ge=1, le=65535)
    version: str = Field(max_length=40)
    blobs: int = Field(ge=0)
    bytes: int = Field(ge=0)
    uploaded_bytes: int = Field(ge=0)
    upload_rate_bytes_s: int = Field(ge=0)
    blob_port: int | None = Field(default=None, ge=1, le=65535)
    blob_tls: bool = False
    http_bytes: int = Field(default=0, ge=0)
    peer_http_bytes: int = Field(default=0, ge=0)
    upstream: str | None = Field(default=None, max_length=1000, pattern=r"^https?://[!-~]+$")
    hashing: Hashing | None = None
    problems: list[Problem] = Field(default=[], max_length=1000)


@blueprint.post("/publish")
def publish_manifest() -> ResponseReturnValue:
    """Enter torrents and a manifest; answer once the announcer takes announces for them."""
    token = holder(PACE, PUBLISH, SHARE)  # before ten megabytes are read from a stranger
    publication_ = publication.read(body(MAX_PUBLISH_BYTES))
    if not is_publisher(token):
        _check_is_single(publication_)
    elif publication_.manifest is not None:
        check_names(token, publication_.manifest.repo)
    min_blob_bytes, now = state().settings.min_blob_bytes, state().clock()
    alive = {one.id for one in state().announcer.seeders() if one.age_s < ALIVE_S} if publication_.seeder else ()
    with state().database.writing() as session:
        bit = holders.bit_of(session, token.id, publication_.seeder, alive=alive)
        done = publish.publish(session, publication_, by=token, bit=bit, min_blob_bytes=min_blob_bytes, now=now)
        instance_id = repos.instance_id(session)
        _note(session, token, publication_, done)
    if done.dropped:
        state().announcer.unregister(done.dropped)
    if done.swarms:
        state().announcer.register(done.swarms)
    manifest = publication_.manifest
    what = f"{manifest.repo}@{manifest.commit[:12]}, {done.files} files" if manifest else "no manifest"
    log.info("%r published %d torrents (%d new), %s", token.name, done.torrents, done.new_torrents, what)
    return jsonify(
        {
            "torrents": done.torrents,
            "new_torrents": done.new_torrents,
            "files": done.files,
            "refs_kept": [one.as_json(manifest.repo, manifest.commit) for one in done.refs.kept] if manifest else [],
            "boot_id": state().announcer.status().boot_id,
            "instance_id": instance_id,
        }
    )


@blueprint.put("/seeders/<seeder_id>")
def heartbeat(seeder_id: str) -> ResponseReturnValue:
    """Note that a seeder lives; tell it where and behind which key it announces."""
    token = holder(BEATS, PUBLISH)
    check_id(seeder_id)
    with state().database.reading() as session:
        instance_id = repos.instance_id(session)
        holdings = state().holdings.digest(session, token.id, seeder_id)
        may_fetch = _may_fetch(session, token)
    said = publication.parse_json(SeederReportBody, body(MAX_REPORT_BYTES)).model_dump(mode="json")
    report = {**said, "token_id": token.id, "for_all": servers.serves_for_all(token)}
    if not may_fetch:
        report["upstream"] = None
    key = tokens.announce_key(token, seeder_id)
    address, keys = str(asker()), state().read_keys
    boot_id = state().announcer.heartbeat(seeder_id, key=key, report=report, address=address)
    return jsonify(
        {
            "boot_id": boot_id,
            "instance_id": instance_id,
            "announce_port": state().announcer.status().announce_port,
            "announce_key": key,
            "min_blob_bytes": state().settings.min_blob_bytes,
            "holdings": holdings,
            **({} if keys is None else {"blob_key": keys.blob_key(token.id, seeder_id)}),
        }
    )


@blueprint.get("/seeders/<seeder_id>/holdings")
def holdings(seeder_id: str) -> ResponseReturnValue:
    """Tell a seeder what is here on its word."""
    token = holder(HOLDINGS, PUBLISH)
    check_id(seeder_id)
    arguments()
    with state().database.reading() as session:
        told = holders.told(session, holders.find(session, token.id, seeder_id))
    return jsonify({**told.as_json(), "digest": told.digest})


def _may_fetch(session: Session, token: PublisherToken) -> bool:
    """Say whether a seeder's upstream is that of this server: clients are sent there. The seeder beside this tracker decides, or
    one that an operator lets fetch for all; where there is neither, any that is for all repos."""
    if servers.serves_for_all(token):
        return True
    if token.repos is not None or servers.has_own_seeder(session):
        return False
    return not any(one.report.get("for_all") for one in state().announcer.seeders())


def _note(session: Session, token: PublisherToken, said: publication.Publication, done: publish.Published) -> None:
    """Write a publication into the audit log, if it changed something."""
    by, now, manifest = Actor.of(token, str(asker())), state().clock(), said.manifest
    if not is_publisher(token):
        if done.new_torrents:
            state().notes.often(audit.SHARED, by, f"{done.new_torrents} torrents")
        return
    where: dict[str, Any] = {"repo": str(manifest.repo), "commit": manifest.commit} if manifest else {}
    if done.refs.moved:
        audit.note(session, audit.REF_SET, by, now=now, refs=list(done.refs.moved), **where)
    for one in done.refs.kept:
        audit.note(session, audit.REF_KEPT, by, now=now, ref=one.name, stays=one.commit, owner=one.owner, **where)
    if done.new_torrents or done.new_files:
        audit.note(session, audit.PUBLISHED, by, now=now, torrents=done.new_torrents, files=done.new_files, **where)


def check_id(seeder_id: str) -> None:
    """Raise `Refused` (422) for what no seeder calls itself."""
    if not re.fullmatch(publication.SEEDER_ID, seeder_id):
        raise Refused(422, "bad_name", "a seeder's id has 1 to 64 letters, digits, dots, dashes or underscores")


def _check_is_single(asked: publication.Publication) -> None:
    """Refuse what a sharer may not publish: a word on a repo, and blobs by the thousand."""
    if asked.manifest is not None:
        raise Refused(403, "scope", "a token to share publishes single torrents; manifests are a publisher's")
    if len(asked.torrents) > MAX_SINGLE:
        raise Refused(413, "too_large", f"a token to share publishes {MAX_SINGLE} torrents at once")
