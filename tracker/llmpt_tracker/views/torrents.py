"""Routes to what has a swarm: torrents by filters and words, .torrent files, peers. No token."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

from flask import Blueprint, Response, jsonify, request
from flask.typing import ResponseReturnValue

from llmpt.core import bencode
from llmpt.core.blob import Etag
from llmpt.core.errors import InvalidInput
from llmpt.core.hub_headers import named
from llmpt.core.repo import check_path, check_ref
from llmpt_tracker.control.messages import Swarm
from llmpt_tracker.errors import Refused
from llmpt_tracker.rules import paging
from llmpt_tracker.rules.catalogue import torrents
from llmpt_tracker.state import state
from llmpt_tracker.views.access import asker, base_url, host_as_asked
from llmpt_tracker.views.arguments import arguments, repo_named, terms
from llmpt_tracker.views.readers import announce_key, reader, reading

blueprint = Blueprint("torrents", __name__, url_prefix="/api/v1")

PEERS_IN_LIST = 50
PEERS_OF_ONE = 100
METAINFO_OF_PAGE = 4 << 20  # bytes: a page with metainfo may be shorter than its limit
NO_V2 = "BitTorrent v2 (BEP 52). Clients that know no v2, as Transmission 3 and aria2, take the file over HTTP: {}"
_HEX = re.compile(r"[0-9a-f]{64}|[0-9a-f]{40}")
_FILTERS = ("repo_type", "repo_id", "revision", "path", "etag", "info_hash")


@blueprint.get("/torrents")
def list_torrents() -> ResponseReturnValue:
    """Find torrents; an empty list when nothing matches."""
    args = arguments(*_FILTERS, "q", "include", "limit", "cursor")
    include = _include(args.get("include", ""), {"metainfo", "peers"})
    query = torrents.TorrentQuery(
        repo_type=args.get("repo_type"),
        repo_id=args.get("repo_id"),
        revision=_checked("revision", check_ref, args.get("revision")),
        path=_checked("path", check_path, args.get("path")),
        etag=_checked("etag", Etag, args.get("etag")),
        info_hash=_info_hash(args["info_hash"]) if "info_hash" in args else None,
        terms=terms(args),
        limit=paging.read_limit(args.get("limit")),
        most_bytes=METAINFO_OF_PAGE if "metainfo" in include else None,
        before=paging.read_cursor(args.get("cursor")),
    )
    if query.repo_id is not None or query.repo_type is not None:
        repo_named(query.repo_type or "model", query.repo_id or "any")
    with reading() as session:
        page, last = torrents.find_torrents(session, query)
        metainfo = torrents.metainfo(session, [one.key for one in page]) if "metainfo" in include else {}
    swarms, boot_id = _swarms([one.swarm for one in page], peers=PEERS_IN_LIST if "peers" in include else 0)
    entries, announce_port = [], state().announce_port(boot_id)
    for one in page:
        entry = _entry(one, swarms, announce_port=announce_port)
        if "metainfo" in include:
            entry["metainfo"] = base64.b64encode(metainfo[one.key]).decode()
        if "peers" in include:
            entry["peers"] = _peers(swarms.get(one.swarm))
        entries.append(entry)
    return jsonify(
        {
            "torrents": entries,
            "next": paging.write_cursor(last) if last is not None else None,
            "boot_id": boot_id,
            "announce_port": announce_port,
            "min_blob_bytes": state().settings.min_blob_bytes,
            **({"announce_keys": True} if reader() else {}),
        }
    )


@blueprint.get("/torrents/<info_hash>")
def one_torrent(info_hash: str) -> ResponseReturnValue:
    """Return one torrent, by the 64 hex digits of its info-hash or the first 40."""
    arguments()
    found = _find(info_hash)
    swarms, boot_id = _swarms([found.swarm], peers=0)
    return jsonify(_entry(found, swarms, announce_port=state().announce_port(boot_id)))


@blueprint.get("/torrents/<info_hash>.torrent")
def torrent_file(info_hash: str) -> ResponseReturnValue:
    """Return the .torrent, with this tracker as announce URL and web seed, under the name by which it was asked; and with the
    file's own address, for clients that know no v2."""
    arguments()
    found = _find(info_hash)
    with state().database.reading() as session:
        stored = torrents.metainfo(session, [found.key])[found.key]
    key = announce_key(found.info_hash.truncated)
    announce = announce_url(state().announcer.status().announce_port, key)
    # Without the name, which clients append (BEP 19). With it libtorrent asks for …/<etag>/<etag> when the size is no multiple
    # of the piece length: in v2 such a torrent has a second, padding file in its eyes.
    web_seed = f"{base_url(request)}/blobs/" + (f"{key}/" if key else "")
    path = found.appears_in[0].path if found.appears_in else str(found.etag)
    comment = NO_V2.format(named(f"{web_seed}{found.etag}", path))
    torrent = with_servers(stored, announce=announce, comment=comment, web_seed=web_seed)
    response = Response(torrent, mimetype="application/x-bittorrent")
    response.headers["Content-Disposition"] = f'attachment; filename="{found.etag}.torrent"'
    return response


@blueprint.get("/torrents/<info_hash>/peers")
def torrent_peers(info_hash: str) -> ResponseReturnValue:
    """Return peers of a swarm as the asker may see them; no address: the one at which you reach this tracker."""
    arguments()
    found = _find(info_hash)
    swarms, boot_id = _swarms([found.swarm], peers=PEERS_OF_ONE)
    return jsonify({"peers": _peers(swarms.get(found.swarm)), "boot_id": boot_id})


def with_servers(stored: bytes, *, announce: str, comment: str, web_seed: str) -> bytes:
    """Put an announce URL, a comment and a web seed (BEP 19) into the outer dictionary of a stored metainfo; `info` keeps its
    very bytes.

    Stored metainfo holds `info` and `piece layers`: `announce` and `comment` sort before them, `url-list` behind.
    """
    before = b"8:announce" + bencode.encode(announce) + b"7:comment" + bencode.encode(comment)
    return b"d" + before + stored[1:-1] + b"8:url-list" + bencode.encode([web_seed]) + b"e"


def _include(text: str, known: Collection[str]) -> frozenset[str]:
    wanted = frozenset(filter(None, text.split(",")))
    if not wanted <= frozenset(known):
        raise Refused(400, "bad_request", f"include: any of {', '.join(sorted(known))}, separated by commas")
    return wanted


def _checked(name: str, check: Callable[[str], Any], text: str | None) -> Any:
    if text is None:
        return None
    try:
        return check(text)
    except InvalidInput as error:
        raise Refused(400, "bad_request", f"{name}: {error}") from None


def _info_hash(text: str) -> bytes:
    if not _HEX.fullmatch(text.lower()):
        raise Refused(400, "bad_request", "an info-hash here is 64 hex digits, or the first 40 of them")
    return bytes.fromhex(text)


def _find(info_hash: str) -> torrents.Torrent:
    with reading() as session:
        return torrents.torrent(session, _info_hash(info_hash))


def _swarms(hashes: list[str], *, peers: int) -> tuple[dict[str, Swarm], str]:
    if not hashes:
        return {}, state().announcer.status().boot_id
    return state().announcer.swarms(hashes, peers=peers, asker=str(asker()))


def announce_url(port: int, key: str) -> str:
    """Return the announce URL as the asker reaches it, with the asker's key for the torrent if there is one."""
    host, _ = host_as_asked(request)
    return (state().settings.announce_url or f"http://{host}:{port}/announce") + (f"/{key}" if key else "")


def _entry(one: torrents.Torrent, swarms: Mapping[str, Swarm], *, announce_port: int) -> dict[str, Any]:
    swarm, key = swarms.get(one.swarm, Swarm()), announce_key(one.info_hash.truncated)
    return {
        "info_hash": str(one.info_hash),
        "etag": one.etag,
        "size": one.size,
        "piece_length": one.piece_length,
        "appears_in": [
            {"repo_type": at.repo.type, "repo_id": at.repo.id, "commit": at.commit, "path": at.path} for at in one.appears_in
        ],
        "seeders": swarm.seeders,
        "leechers": swarm.leechers,
        "completed": swarm.completed,
        "magnet": one.magnet(announce_url(announce_port, key)),
        **({"announce_key": key} if key else {}),
    }


def _peers(swarm: Swarm | None) -> list[dict[str, Any]]:
    return [{"address": peer.address, "port": peer.port} for peer in swarm.peers] if swarm else []
