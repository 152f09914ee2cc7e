"""The terms in which the OpenAPI document is written: types, parameters, answers."""

from __future__ import annotations

from typing import Any

from llmpt.core.repo import REPO_TYPES

Schema = dict[str, Any]


def text(description: str = "", **more: Any) -> Schema:
    """Describe a string."""
    return {"type": "string", **({"description": description} if description else {}), **more}


def count(description: str = "") -> Schema:
    """Describe a number that is not negative."""
    return {"type": "integer", "minimum": 0, **({"description": description} if description else {})}


def array(items: Schema) -> Schema:
    """Describe a list."""
    return {"type": "array", "items": items}


def record(**properties: Schema) -> Schema:
    """Describe an object that has all of these properties and no others."""
    return partly((), **properties)


def partly(optional: tuple[str, ...], /, **properties: Schema) -> Schema:
    """Describe an object of which some properties may be absent."""
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def ref(name: str) -> Schema:
    """Refer to a schema of the document."""
    return {"$ref": f"#/components/schemas/{name}"}


ETAG = text("the Hub's etag: SHA-256, or git's SHA-1", pattern="^([0-9a-f]{64}|[0-9a-f]{40})$")
COMMIT = text(pattern="^[0-9a-f]{40}$")
HASH = text("64 hex digits, or the first 40", pattern="^([0-9a-fA-F]{64}|[0-9a-fA-F]{40})$")
REPO_TYPE = text(enum=list(REPO_TYPES))
REPO_ID = text("`name` or `owner/name`")
NEXT: Schema = {"type": ["string", "null"], "description": "cursor of the next page; null: this is the last one"}
BOOT_ID = text("another one after each start of the announcer: announce again")
MIN_BLOB_BYTES = count("smaller files have no swarm: LLMPT_MIN_BLOB_BYTES of this tracker, which clients and seeders go by")
ANNOUNCE_KEY = text("where reading takes a token: announce this torrent at /announce/<key>, scrape it at /scrape/<key>")
# What a tracker says of itself in an answer about torrents; the last one may be absent.
CONTACT: Schema = {
    "boot_id": BOOT_ID,
    "announce_port": count(),
    "min_blob_bytes": MIN_BLOB_BYTES,
    "announce_keys": {"type": "boolean", "description": "reading takes a token here, and each torrent is announced with a key"},
}


def answer(schema: str, description: str, *errors: int) -> Schema:
    """Describe the answers of a route: its 200, the `errors` that it may give, and those of every route."""
    texts = {400: "The request makes no sense", 401: "No token, or one that may not publish", 404: "Not published here"}
    texts |= {
        413: "The body is too large",
        415: "A packed body, or one that is not called JSON",
        422: "What it says cannot be; nothing was changed",
    }
    texts |= {409: "This server fetches nothing from a Hub", 429: "Too much at once: try again later"}
    texts |= {426: "A client of ours that is too old: update it"}
    texts |= {403: "An address outside LLMPT_PEER_CIDRS, or a token that may not do this"}
    texts |= {503: "The database or the announcer is away: try again"}
    answers = {str(code): body(ref("Error"), texts[code]) for code in sorted((403, 426, 503, *errors))}
    return {"200": body(ref(schema), description), **answers}


def token(*scopes: str) -> Schema:
    """Say that a route takes a token with one of these scopes."""
    return {"security": [{"token": [scope]} for scope in scopes]}


def body(schema: Schema, description: str) -> Schema:
    """Describe a JSON body."""
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def query(name: str, schema: Schema) -> Schema:
    """Describe a parameter of the query."""
    return {"name": name, "in": "query", "required": False, "schema": schema}


def path(name: str, schema: Schema) -> Schema:
    """Describe a part of the path."""
    return {"name": name, "in": "path", "required": True, "schema": schema}
