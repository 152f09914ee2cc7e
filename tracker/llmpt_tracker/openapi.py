"""The OpenAPI 3.1 document of the API. A test holds it to the routes, and real answers to it."""

from __future__ import annotations

from typing import Any

from llmpt.core.repo import REPO_TYPES
from llmpt_tracker.version import VERSION

Schema = dict[str, Any]


def document() -> Schema:
    """Return the whole document."""
    return {
        "openapi": "3.1.0",
        "info": {"title": "llmpt tracker", "version": VERSION, "license": {"name": "Apache-2.0"}},
        "paths": _paths(),
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {"publisher": {"type": "http", "scheme": "bearer", "description": "llmpt_pub_…"}},
        },
    }


def _text(description: str = "", **more: Any) -> Schema:
    return {"type": "string", **({"description": description} if description else {}), **more}


def _count(description: str = "") -> Schema:
    return {"type": "integer", "minimum": 0, **({"description": description} if description else {})}


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _object(**properties: Schema) -> Schema:
    return _partly((), **properties)


def _partly(optional: tuple[str, ...], /, **properties: Schema) -> Schema:
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


_ETAG = _text("the Hub's etag: SHA-256, or git's SHA-1", pattern="^([0-9a-f]{64}|[0-9a-f]{40})$")
_COMMIT = _text(pattern="^[0-9a-f]{40}$")
_HASH = _text("64 hex digits, or the first 40", pattern="^([0-9a-fA-F]{64}|[0-9a-fA-F]{40})$")
_REPO_TYPE = _text(enum=list(REPO_TYPES))
_REPO_ID = _text("`name` or `owner/name`")
_NEXT: Schema = {"type": ["string", "null"], "description": "cursor of the next page; null: this is the last one"}
_BOOT_ID = _text("another one after each start of the announcer: announce again")


def _schemas() -> Schema:
    place = {"repo_type": _REPO_TYPE, "repo_id": _REPO_ID, "commit": _COMMIT}
    file: Schema = {"path": _text(), "size": _count("bytes"), "etag": _ETAG, "lfs": {"type": "boolean"}}
    file["here"] = {"type": "boolean", "description": "whether a publisher has its bytes, not only knows of it"}
    whole = {"type": "boolean", "description": "whether `files` is the whole listing of the commit"}
    return {
        "Error": _object(error=_object(code=_text(), message=_text())),
        "File": _object(**file),
        "PublishedFile": _partly(("here",), **file),
        "Peer": _object(
            address={"type": ["string", "null"], "description": "null: the very address at which you reach this tracker"},
            port={"type": "integer", "minimum": 1, "maximum": 65535},
        ),
        "Torrent": _partly(
            ("metainfo", "peers"),
            info_hash=_text("SHA-256 of the info dictionary (BEP 52)", pattern="^[0-9a-f]{64}$"),
            etag=_ETAG,
            size=_count("bytes"),
            piece_length=_count("bytes"),
            appears_in=_list(_object(**place, path=_text())),
            seeders=_count(),
            leechers=_count(),
            completed=_count(),
            magnet=_text(),
            metainfo=_text("the .torrent in base64; with include=metainfo", contentEncoding="base64"),
            peers=_list(_ref("Peer")),
        ),
        "TorrentPage": _object(torrents=_list(_ref("Torrent")), next=_NEXT, boot_id=_BOOT_ID, announce_port=_count()),
        "Whoami": _object(
            address=_text("as this tracker sees you"),
            reachable={
                "type": ["boolean", "null"],
                "description": "whether others can connect to that port of yours; null: no port, or nobody can say",
            },
            version=_text("of this tracker"),
            protocol=_count("of this API"),
            oldest_client=_text("the oldest llmpt that is served"),
        ),
        "Peers": _object(peers=_list(_ref("Peer")), boot_id=_BOOT_ID),
        "Revision": _object(
            commit=_COMMIT,
            refs=_list(_text()),
            complete={"type": "boolean", "description": "whether every file of the commit is listed"},
            files=_count("those that are listed"),
            size=_count("bytes"),
            files_here=_count("those whose bytes a publisher has"),
            size_here=_count("bytes"),
            published_at=_text(format="date-time"),
        ),
        "RepoPage": _object(
            repos=_list(_object(repo_type=_REPO_TYPE, repo_id=_REPO_ID, revisions=_list(_ref("Revision")))), next=_NEXT
        ),
        "Manifest": _object(**place, refs=_list(_text()), complete=whole, files=_list(_ref("File"))),
        "Publish": _partly(
            (*place, "refs", "complete", "files", "absent", "card", "torrents"),
            **place,
            refs=_list(_text()),
            complete=whole,
            files=_list(_ref("PublishedFile")),
            absent=_list(_text("a path of which the Hub said that the commit does not hold it")),
            card={"type": ["object", "null"], "description": "front matter of the README, as JSON of at most 64 KiB"},
            torrents=_list(_text("a .torrent in base64", contentEncoding="base64")),
        ),
        "Published": _object(
            torrents=_count("how many were accepted"),
            new_torrents=_count(),
            files=_count(),
            boot_id=_BOOT_ID,
            instance_id=_text("identity of the tracker's database: publish everything anew when it changes"),
        ),
        "Report": _partly(
            ("hashing", "problems", "blob_port", "http_bytes"),
            port={"type": "integer", "minimum": 1, "maximum": 65535},
            version=_text(),
            blobs=_count(),
            bytes=_count(),
            uploaded_bytes=_count(),
            upload_rate_bytes_s=_count(),
            blob_port={"anyOf": [{"type": "integer", "minimum": 1, "maximum": 65535}, {"type": "null"}]},
            http_bytes=_count("bytes of files sent over HTTP since its start"),
            hashing={"anyOf": [_ref("Hashing"), {"type": "null"}]},
            problems=_list(_object(what=_text(), reason=_text())),
        ),
        "Hashing": _partly(
            ("current",),
            blobs_done=_count(),
            blobs_total=_count(),
            bytes_done=_count(),
            bytes_total=_count(),
            current={"type": ["string", "null"]},
        ),
        "Heartbeat": _object(
            boot_id=_BOOT_ID, instance_id=_text(), announce_port=_count(), announce_key=_text("announce at /announce/<key>")
        ),
    }


def _answer(schema: str, description: str, *errors: int) -> Schema:
    texts = {400: "The request makes no sense", 401: "No token, or one that may not publish", 404: "Not published here"}
    texts |= {413: "The body is too large", 415: "A packed body", 422: "What it says cannot be; nothing was changed"}
    texts |= {426: "A client of ours that is too old: update it"}
    texts |= {403: "An address outside LLMPT_PEER_CIDRS", 503: "The database or the announcer is away: try again"}
    answers = {str(code): _body(_ref("Error"), texts[code]) for code in sorted((403, 426, 503, *errors))}
    return {"200": _body(_ref(schema), description), **answers}


def _body(schema: Schema, description: str) -> Schema:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _query(name: str, schema: Schema) -> Schema:
    return {"name": name, "in": "query", "required": False, "schema": schema}


def _path(name: str, schema: Schema) -> Schema:
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _paths() -> Schema:
    paging = [_query("limit", {"type": "integer", "minimum": 1, "maximum": 200, "default": 50}), _query("cursor", _text())]
    words = _query("q", _text("words that the repo's name or the file's path has, all of them; the beginnings will do"))
    by_hash = [_path("info_hash", _HASH)]
    torrent_file = _answer("Error", "", 400, 404)
    torrent_file["200"] = {
        "description": "The .torrent, with this tracker's announce URL",
        "content": {"application/x-bittorrent": {"schema": _text(format="binary")}},
    }
    secured: Schema = {"security": [{"publisher": []}]}
    return {
        "/api/v1/publish": {
            "post": {
                "summary": "Publish torrents and a manifest: all of it, or nothing. Idempotent",
                "requestBody": {"required": True, **_body(_ref("Publish"), "A manifest, torrents, or both; at most 10 MiB")},
                "responses": _answer("Published", "Entered, and the announcer knows", 400, 401, 413, 415, 422),
                **secured,
            }
        },
        "/api/v1/torrents": {
            "get": {
                "summary": "Find torrents by exact filters and by words",
                "parameters": [
                    _query("repo_type", _REPO_TYPE),
                    _query("repo_id", _REPO_ID),
                    _query("revision", _text("a commit, or the name of a ref")),
                    _query("path", _text()),
                    _query("etag", _ETAG),
                    _query("info_hash", _HASH),
                    words,
                    _query("include", _text("metainfo, peers: separated by commas")),
                    *paging,
                ],
                "responses": _answer("TorrentPage", "A page, also when nothing matches; the newest first", 400),
            }
        },
        "/api/v1/torrents/{info_hash}": {
            "get": {
                "summary": "One torrent",
                "parameters": by_hash,
                "responses": _answer("Torrent", "The torrent", 400, 404),
            }
        },
        "/api/v1/torrents/{info_hash}.torrent": {
            "get": {"summary": "The .torrent file", "parameters": by_hash, "responses": torrent_file}
        },
        "/api/v1/torrents/{info_hash}/peers": {
            "get": {
                "summary": "Peers of a swarm, seeders first",
                "parameters": by_hash,
                "responses": _answer("Peers", "The peers", 400, 404),
            }
        },
        "/api/v1/repos": {
            "get": {
                "summary": "Repos, each with its newest revisions",
                "parameters": [words, *paging],
                "responses": _answer("RepoPage", "A page; the newest first", 400),
            }
        },
        "/api/v1/repos/{repo_type}/{repo_id}/revisions/{revision}": {
            "get": {
                "summary": "The manifest of a revision",
                "parameters": [
                    _path("repo_type", _REPO_TYPE),
                    _path("repo_id", _REPO_ID),
                    _path("revision", _text("a commit, or the name of a ref")),
                ],
                "responses": _answer("Manifest", "Every file that is known of it", 400, 404),
            }
        },
        "/api/v1/seeders/{seeder_id}": {
            "put": {
                "summary": "A seeder's heartbeat",
                "parameters": [_path("seeder_id", _text(pattern="^[A-Za-z0-9._-]{1,64}$"))],
                "requestBody": {"required": True, **_body(_ref("Report"), "How it is")},
                "responses": _answer("Heartbeat", "Where to announce, and behind which key", 400, 401, 413, 415, 422),
                **secured,
            }
        },
        "/api/v1/whoami": {
            "get": {
                "summary": "Who is asking, and can others connect to it?",
                "parameters": [_query("port", {"type": "integer", "minimum": 1, "maximum": 65535})],
                "responses": _answer("Whoami", "How this tracker sees you", 400),
            }
        },
        "/api/v1/openapi.json": {
            "get": {
                "summary": "This document",
                "responses": {
                    "200": {"description": "OpenAPI 3.1", "content": {"application/json": {"schema": {"type": "object"}}}}
                },
            }
        },
    }
