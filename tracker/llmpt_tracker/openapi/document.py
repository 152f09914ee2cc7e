"""The OpenAPI 3.1 document of the API. A test holds it to the routes, and real answers to it."""

from __future__ import annotations

from llmpt_tracker.openapi import identity, lookups, manifests, mirrors, sharing, traffic
from llmpt_tracker.openapi.terms import (
    ANNOUNCE_KEY,
    BOOT_ID,
    COMMIT,
    CONTACT,
    ETAG,
    HASH,
    MIN_BLOB_BYTES,
    NEXT,
    REPO_ID,
    REPO_TYPE,
    Schema,
    answer,
    array,
    body,
    count,
    partly,
    path,
    query,
    record,
    ref,
    text,
    token,
)
from llmpt_tracker.rules.rights import PUBLISH, SHARE
from llmpt_tracker.version import VERSION

TOKENS = (
    "A token of this tracker, such as llmpt_pub_…, with one of the scopes that a route names. Where reading takes a token "
    "(LLMPT_REQUIRE_READ_TOKEN), all routes take one with the scope read"
)
PORT: Schema = {"type": "integer", "minimum": 1, "maximum": 65535}

PAGING = [query("limit", {"type": "integer", "minimum": 1, "maximum": 200, "default": 50}), query("cursor", text())]


def document() -> Schema:
    """Return the whole document."""
    return {
        "openapi": "3.1.0",
        "info": {"title": "llmpt tracker", "version": VERSION, "license": {"name": "Apache-2.0"}},
        "paths": _paths()
        | identity.paths()
        | lookups.paths()
        | mirrors.paths(PAGING)
        | sharing.paths()
        | manifests.paths()
        | traffic.paths(),
        "components": {
            "schemas": _schemas()
            | identity.schemas()
            | lookups.schemas()
            | mirrors.schemas()
            | sharing.schemas()
            | traffic.schemas()
            | manifests.schemas(),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "description": TOKENS}},
        },
    }


def _schemas() -> Schema:
    place = {"repo_type": REPO_TYPE, "repo_id": REPO_ID, "commit": COMMIT}
    file: Schema = {"path": text(), "size": count("bytes"), "etag": ETAG, "lfs": {"type": "boolean"}}
    file["here"] = {"type": "boolean", "description": "whether a publisher, or a machine of the LAN, has its bytes now"}
    whole = {"type": "boolean", "description": "whether `files` is the whole listing of the commit"}
    return {
        "Error": record(error=record(code=text(), message=text())),
        "File": record(**file),
        "PublishedFile": partly(("here",), **file),
        "Peer": record(
            address={"type": ["string", "null"], "description": "null: the very address at which you reach this tracker"},
            port=PORT,
        ),
        "Torrent": partly(
            ("metainfo", "peers", "announce_key"),
            info_hash=text("SHA-256 of the info dictionary (BEP 52)", pattern="^[0-9a-f]{64}$"),
            etag=ETAG,
            size=count("bytes"),
            piece_length=count("bytes"),
            appears_in=array(record(**place, path=text())),
            seeders=count(),
            leechers=count(),
            completed=count(),
            magnet=text(),
            metainfo=text("the .torrent in base64; with include=metainfo", contentEncoding="base64"),
            peers=array(ref("Peer")),
            announce_key=ANNOUNCE_KEY,
        ),
        "TorrentPage": partly(("announce_keys",), torrents=array(ref("Torrent")), next=NEXT, **CONTACT),
        "Whoami": record(
            address=text("as this tracker sees you"),
            reachable={
                "type": ["boolean", "null"],
                "description": "whether others can connect to that port of yours; null: no port, or not known",
            },
            version=text("of this tracker"),
            protocol=count("of this API"),
            oldest_client=text("the oldest llmpt that is served"),
        ),
        "Peers": record(peers=array(ref("Peer")), boot_id=BOOT_ID),
        "Revision": record(
            commit=COMMIT,
            refs=array(text()),
            complete={"type": "boolean", "description": "whether every file of the commit is listed"},
            files=count("those that are listed"),
            size=count("bytes"),
            files_here=count("those whose bytes a publisher, or a machine of the LAN, has now"),
            size_here=count("bytes"),
            published_at=text(format="date-time"),
        ),
        "RepoPage": record(
            repos=array(record(repo_type=REPO_TYPE, repo_id=REPO_ID, revisions=array(ref("Revision")))), next=NEXT
        ),
        "Publish": partly(
            (*place, "refs", "complete", "files", "absent", "card", "torrents", "seeder", "anew", "more"),
            **place,
            refs=array(text()),
            complete=whole,
            files=array(ref("PublishedFile")),
            absent=array(text("a path of which the Hub said that the commit does not hold it")),
            card={"type": ["object", "null"], "description": "README front matter and the Hub's findings, JSON, 64 KiB"},
            torrents=array(text("a .torrent in base64", contentEncoding="base64")),
            seeder={
                "type": ["string", "null"],
                "description": "who has the bytes: the id of a seeder's heartbeats. What is said without one is never taken back",
            },
            anew={
                "type": "boolean",
                "description": "what that seeder had of the commit, refs included, and does not name now, it has no longer",
            },
            more={"type": "boolean", "description": "a further part of the same manifest follows"},
        ),
        "Published": record(
            torrents=count("how many were accepted"),
            new_torrents=count(),
            files=count(),
            refs_kept=array(ref("KeptRef")),
            boot_id=BOOT_ID,
            instance_id=text("identity of the tracker's database: publish everything anew when it changes"),
        ),
        "KeptRef": record(
            ref=text("a ref that another publisher has set, and that stays"),
            commit=text("where it points"),
            message=text("what moves it"),
        ),
        "Report": partly(
            ("hashing", "problems", "blob_port", "blob_tls", "http_bytes", "peer_http_bytes", "upstream"),
            port=PORT,
            version=text(),
            blobs=count(),
            bytes=count(),
            uploaded_bytes=count(),
            upload_rate_bytes_s=count(),
            blob_port={"anyOf": [PORT, {"type": "null"}]},
            blob_tls={"type": "boolean", "description": "files come over https there"},
            upstream={"type": ["string", "null"], "description": "the Hub from which it fetches; null: none"},
            http_bytes=count("bytes of files sent over HTTP since its start"),
            peer_http_bytes=count("those of them that went to peers of swarms"),
            hashing={"anyOf": [ref("Hashing"), {"type": "null"}]},
            problems=array(record(what=text(), reason=text())),
        ),
        "Hashing": partly(
            ("current",),
            blobs_done=count(),
            blobs_total=count(),
            bytes_done=count(),
            bytes_total=count(),
            current={"type": ["string", "null"]},
        ),
        "Heartbeat": record(
            boot_id=BOOT_ID,
            instance_id=text(),
            announce_port=count(),
            announce_key=text("announce at /announce/<key>"),
            min_blob_bytes=MIN_BLOB_BYTES,
            holdings=text("the digest of the seeder's holdings, as they were a moment ago"),
        ),
        "Holdings": record(
            digest=text("another one when anything here is"),
            commits=array(
                record(
                    **place,
                    complete=whole,
                    files=count("those that are listed"),
                    here=count("those of them that the seeder has"),
                    torrents=count("those of these that have a torrent"),
                )
            ),
            refs=array(
                record(
                    repo_type=REPO_TYPE,
                    repo_id=REPO_ID,
                    name=text(),
                    commit={"type": ["string", "null"], "description": "null: another publisher said last where it points"},
                )
            ),
        ),
    }


def _paths() -> Schema:
    words = query("q", text("words that the repo's name or the file's path has, all of them; the beginnings will do"))
    by_hash = [path("info_hash", HASH)]
    torrent_file = answer("Error", "", 400, 404)
    torrent_file["200"] = {
        "description": "The .torrent, with this tracker's announce URL",
        "content": {"application/x-bittorrent": {"schema": text(format="binary")}},
    }
    return {
        "/api/v1/publish": {
            "post": {
                "summary": "Publish torrents and a manifest: all of it, or nothing. Idempotent",
                "requestBody": {"required": True, **body(ref("Publish"), "A manifest, torrents, or both; at most 10 MiB")},
                "responses": answer("Published", "Entered, and the announcer knows", 400, 401, 413, 415, 422, 429),
                **token(PUBLISH, SHARE),
            }
        },
        "/api/v1/torrents": {
            "get": {
                "summary": "Find torrents by exact filters and by words",
                "parameters": [
                    query("repo_type", REPO_TYPE),
                    query("repo_id", REPO_ID),
                    query("revision", text("a commit, or the name of a ref")),
                    query("path", text()),
                    query("etag", ETAG),
                    query("info_hash", HASH),
                    words,
                    query("include", text("metainfo, peers: separated by commas")),
                    *PAGING,
                ],
                "responses": answer("TorrentPage", "A page, also when nothing matches; the newest first", 400),
            }
        },
        "/api/v1/torrents/{info_hash}": {
            "get": {
                "summary": "One torrent",
                "parameters": by_hash,
                "responses": answer("Torrent", "The torrent", 400, 404),
            }
        },
        "/api/v1/torrents/{info_hash}.torrent": {
            "get": {"summary": "The .torrent file", "parameters": by_hash, "responses": torrent_file}
        },
        "/api/v1/torrents/{info_hash}/peers": {
            "get": {
                "summary": "Peers of a swarm, seeders first",
                "parameters": by_hash,
                "responses": answer("Peers", "The peers", 400, 404),
            }
        },
        "/api/v1/repos": {
            "get": {
                "summary": "Repos, each with its newest revisions",
                "parameters": [words, *PAGING],
                "responses": answer("RepoPage", "A page; the newest first", 400),
            }
        },
        "/api/v1/seeders/{seeder_id}": {
            "put": {
                "summary": "A seeder's heartbeat",
                "parameters": [path("seeder_id", text(pattern="^[A-Za-z0-9._-]{1,64}$"))],
                "requestBody": {"required": True, **body(ref("Report"), "How it is")},
                "responses": answer("Heartbeat", "Where to announce, and behind which key", 400, 401, 413, 415, 422, 429),
                **token(PUBLISH),
            }
        },
        "/api/v1/seeders/{seeder_id}/holdings": {
            "get": {
                "summary": "What is here on a seeder's word, counted anew",
                "parameters": [path("seeder_id", text(pattern="^[A-Za-z0-9._-]{1,64}$"))],
                "responses": answer("Holdings", "What the catalogue has of it", 400, 401, 422, 429),
                **token(PUBLISH),
            }
        },
        "/api/v1/whoami": {
            "get": {
                "summary": "How is the asker seen, and can others connect to it?",
                "parameters": [query("port", PORT)],
                "responses": answer("Whoami", "How this tracker sees you", 400),
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
