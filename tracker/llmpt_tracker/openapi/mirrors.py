"""The part of the OpenAPI document that is about mirrors: what is fetched from upstream."""

from __future__ import annotations

from llmpt.core.mirrors import MirrorState
from llmpt_tracker.openapi.terms import (
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
from llmpt_tracker.rules.rights import ADMIN, MIRROR, PUBLISH, SHARE

_COMMIT: Schema = {"type": ["string", "null"], "pattern": "^[0-9a-f]{40}$"}
_STATE = text(enum=[state.value for state in MirrorState])
_FIGURES = {
    "files_total": count(),
    "files_done": count(),
    "bytes_total": count("of all its files"),
    "bytes_done": count(),
}
_ASK = {
    "repo_type": REPO_TYPE,
    "repo_id": REPO_ID,
    "revision": text("a commit, or the name of a ref"),
    "include": array(text("a pattern of paths; none: the listing only")),
}


def schemas() -> Schema:
    """Return the schemas."""
    error = partly(
        ("status", "code", "retry_after_s"),
        status={"type": ["integer", "null"], "description": "upstream's; null: it gave none"},
        code={"type": ["string", "null"], "description": "upstream's X-Error-Code"},
        message=text(),
        retry_after_s={"type": ["integer", "null"], "description": "seconds until it may be tried again"},
    )
    maybe_error: Schema = {"anyOf": [error, {"type": "null"}]}
    moment = text(format="date-time")
    return {
        "MirrorAsk": partly(("repo_type", "revision", "include"), **_ASK),
        "Mirror": partly(
            ("askers",),
            id=count(),
            **_ASK,
            state=_STATE,
            commit=_COMMIT,
            **_FIGURES,
            error=maybe_error,
            requested_at=moment,
            wanted_at=moment,
            ended_at={"type": ["string", "null"]},
            askers=array(text("a client that asked, by a name that says nothing to others; told to publishers only")),
        ),
        "MirrorOrders": record(
            cancelled=array(count("a mirror that was cancelled of late")),
            pinned=array(record(repo_type=REPO_TYPE, repo_id=REPO_ID)),
        ),
        "Pin": record(repo_type=REPO_TYPE, repo_id=REPO_ID, pinned={"type": "boolean"}),
        "MirrorPage": record(mirrors=array(ref("Mirror")), next=NEXT),
        "MirrorReport": partly(("commit", *_FIGURES, "error"), state=_STATE, commit=_COMMIT, **_FIGURES, error=maybe_error),
    }


def paths(paging: list[Schema]) -> Schema:
    """Return the routes; `paging` are the parameters of every list."""
    by_id = [path("mirror_id", count())]
    of_repo = [path("repo_type", REPO_TYPE), path("repo_id", REPO_ID)]
    asked = answer("Mirror", "The mirror", 400, 401, 409, 413, 415, 422, 429)
    asked["202"] = asked.pop("200")
    return {
        "/api/v1/mirrors": {
            "post": {
                "summary": "Have files of a revision fetched from upstream",
                "requestBody": {"required": True, **body(ref("MirrorAsk"), "What is wanted")},
                "responses": asked,
                **token(MIRROR, SHARE),
            },
            "get": {
                "summary": "Mirrors that are queued, under way, and ended; the newest first, or as they are to be taken",
                "parameters": [
                    query("state", text(", ".join(state.value for state in MirrorState) + ": separated by commas")),
                    query("order", text("listings first, then what was asked for first", enum=["next"])),
                    *paging,
                ],
                "responses": answer("MirrorPage", "A page", 400, 401),
            },
        },
        "/api/v1/mirrors/{mirror_id}": {
            "get": {"summary": "How far it is", "parameters": by_id, "responses": answer("Mirror", "The mirror", 400, 404)},
            "put": {
                "summary": "The seeder's report on it",
                "parameters": by_id,
                "requestBody": {"required": True, **body(ref("MirrorReport"), "How far it is")},
                "responses": answer("Mirror", "The mirror", 400, 401, 404, 413, 415, 429),
                **token(PUBLISH),
            },
            "delete": {
                "summary": "Cancel it: it is fetched no more, and not anew for a day unless it is asked for by hand",
                "parameters": by_id,
                "responses": answer("Mirror", "The mirror", 400, 401, 404, 409, 429),
                **token(ADMIN),
            },
        },
        "/api/v1/mirrors/orders": {
            "get": {
                "summary": "What an operator has said of the queue, for its seeders",
                "responses": answer("MirrorOrders", "What is cancelled, and what is pinned", 400, 401, 429),
                **token(PUBLISH),
            }
        },
        "/api/v1/pins/{repo_type}/{repo_id}": {
            "put": {
                "summary": "Pin a repo: its files are fetched before others, and none of them is dropped to make room",
                "parameters": of_repo,
                "responses": answer("Pin", "It is pinned", 400, 401, 409, 422, 429),
                **token(ADMIN),
            },
            "delete": {
                "summary": "Let a repo that is pinned go as others do",
                "parameters": of_repo,
                "responses": answer("Pin", "It is not pinned", 400, 401, 404, 422, 429),
                **token(ADMIN),
            },
        },
    }
