"""The part of the OpenAPI document that is about the server's key: its hello, and what it signs."""

from __future__ import annotations

from llmpt_tracker.openapi.terms import Schema, answer, array, count, query, record, text


def schemas() -> Schema:
    """Return the schemas."""
    key = text("Ed25519, in base64")
    return {
        "Signature": record(
            public_key=key,
            name=text("what the server calls itself"),
            refs=array(text()),
            signed_at=count("seconds since 1970"),
            signature=text("in base64, of what docs/protocols/signatures.md describes"),
        ),
        "Hello": record(
            public_key=key,
            fingerprint=text("the beginning of its SHA-256, as people read it"),
            certificate=text("SHA-256 of the certificate with which this server speaks TLS; empty: it does not, or by a proxy"),
            signature=text("in base64, of nonce and certificate"),
        ),
    }


def paths() -> Schema:
    """Return the routes."""
    return {
        "/api/v1/hello": {
            "get": {
                "summary": "The server shows that it holds its key",
                "parameters": [query("nonce", text(pattern="^[0-9a-f]{32,128}$"))],
                "responses": answer("Hello", "The nonce, signed", 400, 404),
            }
        }
    }
