"""The part of the OpenAPI document that is about many etags in one question."""

from __future__ import annotations

from llmpt_tracker.openapi.terms import (
    ANNOUNCE_KEY,
    COMMIT,
    CONTACT,
    ETAG,
    REPO_ID,
    REPO_TYPE,
    Schema,
    answer,
    array,
    body,
    count,
    partly,
    record,
    ref,
    text,
)


def schemas() -> Schema:
    """Return the schemas."""
    found = partly(
        ("metainfo", "announce_key"),
        info_hash=text("SHA-256 of the info dictionary (BEP 52)", pattern="^[0-9a-f]{64}$"),
        etag=ETAG,
        size=count("bytes"),
        seeders=count(),
        leechers=count(),
        completed=count(),
        peers=array(ref("Peer")),
        metainfo=text("in base64; absent where it was not asked for, or beyond 8 MiB of it: ask again", contentEncoding="base64"),
        announce_key=ANNOUNCE_KEY,
    )
    return {
        "Lookup": partly(
            ("metainfo_of", "peers", "beside"),
            etags=array(ETAG) | {"maxItems": 1000},
            metainfo_of=array(ETAG) | {"description": "those of the etags whose metainfo the asker does not have"},
            peers=count("how many of each; 50 unless given, and at most; with `beside` 20 at most"),
            beside=partly(
                ("but",),
                repo_type=REPO_TYPE,
                repo_id=REPO_ID,
                commit=COMMIT,
                but=array(ETAG) | {"maxItems": 1000, "description": "those of its etags that the asker knows of"},
            )
            | {"description": "a commit whose other files that have a torrent the asker may want next"},
        ),
        "StandingQuestion": record(etags=array(ETAG) | {"maxItems": 1000}),
        "Standing": record(
            blobs=array(
                record(
                    etag=ETAG,
                    published={"type": "boolean", "description": "a publisher shares it now, as a file of some repo"},
                    repos=array(record(repo_type=REPO_TYPE, repo_id=REPO_ID)) | {"description": "at most 20"},
                )
            )
            | {"description": "those of the etags that a manifest names"},
        ),
        "LookedUp": partly(
            ("announce_keys",),
            torrents=array(found)
            | {
                "description": "those of the etags that have a torrent, in the order of the question; then those of "
                "`beside`, with their metainfo, by path, as many as an answer has room for"
            },
            **CONTACT,
        ),
    }


def paths() -> Schema:
    """Return the routes."""
    return {
        "/api/v1/standing": {
            "post": {
                "summary": "Many etags in one question: does a publisher share them now, and of which repos are they files?",
                "requestBody": {"required": True, **body(ref("StandingQuestion"), "The etags, 1000 at most")},
                "responses": answer("Standing", "Those that a manifest names", 400, 413, 415),
            }
        },
        "/api/v1/lookup": {
            "post": {
                "summary": "Many etags in one question: peers of each, and metainfo where it is asked for",
                "requestBody": {"required": True, **body(ref("Lookup"), "The etags, 1000 at most")},
                "responses": answer("LookedUp", "Those that have a torrent", 400, 413, 415),
            }
        },
    }
