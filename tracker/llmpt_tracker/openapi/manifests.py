"""The part of the OpenAPI document that is about what a commit holds, and whether the LAN may answer for it without the Hub."""

from __future__ import annotations

from llmpt.core.repo import Shown
from llmpt_tracker.openapi.terms import (
    COMMIT,
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
from llmpt_tracker.rules.rights import PUBLISH

# Of a manifest; the last two are said of a ref only.
_NEWS: Schema = {
    "open": {"type": "boolean", "description": "whether the LAN may answer for this commit without the Hub"},
    "hub": {"type": ["string", "null"], "description": "which Hub that is; the repo of that name on another one is another repo"},
    "fresh": {"type": "boolean", "description": "upstream said within LLMPT_REF_TTL that the ref points here"},
    "ref_age_s": {
        "type": ["integer", "null"],
        "description": "seconds since upstream, or a publisher, last said that the ref points here; null: not known",
    },
}


_PAGING = [query("limit", {"type": "integer", "minimum": 1, "maximum": 5000, "default": 5000}), query("cursor", text())]


def schemas() -> Schema:
    """Return the schemas."""
    shown = text("to all, by the Hub's word; an operator named it; not to all", enum=[one.value for one in Shown])
    said = record(repo_type=REPO_TYPE, repo_id=REPO_ID, shown=shown, age_s=count("seconds since that was known"))
    return {
        "SaidOfRepos": partly(("hub",), hub=text("the Hub that they are on"), repos=array(said)),
        "HeardOfRepos": record(repos=count("how many were said")),
        "Manifest": partly(
            ("signature", "fresh", "ref_age_s"),
            repo_type=REPO_TYPE,
            repo_id=REPO_ID,
            commit=COMMIT,
            refs=array(text()),
            complete={"type": "boolean", "description": "whether `files` is the whole listing of the commit"},
            **_NEWS,
            files=array(ref("File")),
            next=NEXT,
            signature=ref("Signature"),
        ),
    }


def paths() -> Schema:
    """Return the routes."""
    return {
        "/api/v1/repos/{repo_type}/{repo_id}/revisions/{revision}": {
            "get": {
                "summary": "The manifest of a revision",
                "parameters": [
                    path("repo_type", REPO_TYPE),
                    path("repo_id", REPO_ID),
                    path("revision", text("a commit, or the name of a ref")),
                    query("signed", text("the first page with the server's signature of the whole", enum=["1"])),
                    query("refresh", text("have upstream say first where the ref points, within about 2 s", enum=["1"])),
                    *_PAGING,
                ],
                "responses": answer("Manifest", "A page of the files that are known of it, by path", 400, 404),
            }
        },
        "/api/v1/seeders/{seeder_id}/repos": {
            "put": {
                "summary": "Who may read which repos: all that a seeder has to say, in place of what it said before",
                "parameters": [path("seeder_id", text(pattern="^[A-Za-z0-9._-]{1,64}$"))],
                "requestBody": {"required": True, **body(ref("SaidOfRepos"), "At most 20,000 repos")},
                "responses": answer("HeardOfRepos", "Noted", 400, 401, 413, 415, 422, 429),
                **token(PUBLISH),
            }
        },
    }
