"""The part of the OpenAPI document that is about what machines share: tokens, leases, reports."""

from __future__ import annotations

from llmpt_tracker.openapi.terms import (
    BOOT_ID,
    COMMIT,
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
    token,
)
from llmpt_tracker.rules.rights import PUBLISH, SHARE

_RATE = count("bytes per second")
_INFO_HASH = text("64 hex digits, or the first 40", pattern="^([0-9a-f]{64}|[0-9a-f]{40})$")


def schemas() -> Schema:
    """Return the schemas."""
    lease = record(
        etag=ETAG,
        role=text("fetch it; wait for the fetcher; it is here, look it up", enum=["fetch", "wait", "here"]),
        fetcher={"type": ["string", "null"], "description": "the machine that fetches it; null: none yet, ask again"},
        bytes=count("that the fetcher has"),
        rate_bytes_s=_RATE,
    )
    return {
        "TokenAsk": partly(
            ("code",),
            name=text("of this machine, as people know it; 1 to 80 printable characters"),
            code={"type": ["string", "null"], "description": "of an invitation, where LLMPT_SHARING=invited"},
        ),
        "Token": record(token=text("shown this once"), scope=text(enum=["share"])),
        "Poll": partly(
            ("stall_timeout_s", "wants", "fetching", "ended", "unlimited", "hub_rate_bytes_s"),
            machine=text("a random name of this life of the agent", pattern="^[A-Za-z0-9._-]{1,64}$"),
            stall_timeout_s={"type": "number", "description": "without progress for so long, what it fetches is another one's"},
            wants=array(record(etag=ETAG, size=count("bytes"), repo_type=REPO_TYPE, repo_id=REPO_ID)),
            fetching=array(record(etag=ETAG, bytes=count("so far"), rate_bytes_s=_RATE)),
            ended=array(record(etag=ETAG, outcome=text(enum=["published", "failed"]))),
            hub_rate_bytes_s=count(
                "bytes per second from the Hub to this machine; only where an answer has said `asks_hub_rate`"
            ),
            unlimited={"type": "boolean", "description": "a publisher's: no share, and before all others"},
        ),
        "Leases": partly(
            ("asks_hub_rate",),
            asks_hub_rate={"type": "boolean", "description": "the tracker understands `hub_rate_bytes_s`"},
            leases=array(lease),
            poll_s={"type": "number", "description": "seconds after which to ask again"},
            boot_id=BOOT_ID,
        ),
        "WrongContent": record(etag=ETAG, info_hash=_INFO_HASH, reason=text("what was found, in at most 500 characters")),
        "Doubt": record(
            repo_type=REPO_TYPE,
            repo_id=REPO_ID,
            commit=COMMIT,
            path=text("of a file of that commit"),
            reason=text("what the Hub says of it, in at most 500 characters"),
        ),
        "Noted": record(noted={"type": "boolean"}),
        "Dropped": record(dropped={"type": "boolean", "description": "whether the torrent was taken out of the catalogue"}),
    }


def paths() -> Schema:
    """Return the routes."""
    made = answer("Token", "The token", 400, 413, 415, 422, 429)
    made["201"] = made.pop("200")
    return {
        "/api/v1/tokens": {
            "post": {
                "summary": "A token with which this machine shares what it fetches from the Hub",
                "requestBody": {"required": True, **body(ref("TokenAsk"), "The machine that asks")},
                "responses": made,
            }
        },
        "/api/v1/leases": {
            "post": {
                "summary": "Which machine fetches what: say what you wait for, fetch and have fetched, again and again",
                "requestBody": {"required": True, **body(ref("Poll"), "All that this machine wants and does now")},
                "responses": answer("Leases", "A line for each want", 400, 401, 413, 415, 422, 429),
                **token(SHARE, PUBLISH),
            }
        },
        "/api/v1/doubts": {
            "post": {
                "summary": "The Hub says something else of a file of a commit than this catalogue",
                "requestBody": {"required": True, **body(ref("Doubt"), "Which, and what")},
                "responses": answer("Noted", "Noted for the operator", 400, 401, 404, 413, 415, 429),
                **token(SHARE, PUBLISH),
            }
        },
        "/api/v1/reports": {
            "post": {
                "summary": "The content of a torrent is not what its etag names",
                "requestBody": {"required": True, **body(ref("WrongContent"), "Which, and what was wrong")},
                "responses": answer("Dropped", "Noted", 400, 401, 413, 415, 429),
                **token(SHARE, PUBLISH),
            }
        },
    }
