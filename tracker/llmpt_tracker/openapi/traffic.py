"""The part of the OpenAPI document that is about bytes: rates, and what was saved."""

from __future__ import annotations

from llmpt_tracker.openapi.terms import REPO_ID, REPO_TYPE, Schema, answer, array, count, record, ref, text

_SAVED: Schema = {"type": "integer", "description": "bytes; less than 0 while what was fetched ahead was not used as often"}


def schemas() -> Schema:
    """Return the schemas."""
    return {
        "Rates": array(
            record(
                at=text("when it began", format="date-time"),
                swarm_bytes_s=count("what seeders gave by BitTorrent, in bytes per second"),
                http_bytes_s=count("what seeders gave over HTTP"),
                hub_bytes_s=count("what came from the Hub, for all"),
            )
        ),
        "Bytes": record(
            swarm_bytes=count("what seeders gave by BitTorrent"),
            http_bytes=count("what seeders gave over HTTP"),
            hub_bytes=count("what came from the Hub, for all"),
            mirrored_bytes=count("of that, what the appliance fetched for others"),
            received_bytes=count("files that machines got to the end from swarms, and what went over HTTP to others"),
            saved_bytes=_SAVED,
        ),
        "Traffic": record(
            hour=ref("Rates"),
            day=ref("Rates"),
            today=ref("Bytes"),
            month=ref("Bytes"),
            repos=array(
                record(
                    repo_type=REPO_TYPE,
                    repo_id=REPO_ID,
                    received_bytes=count("by BitTorrent, this month"),
                    saved_bytes=_SAVED,
                )
            ),
        ),
    }


def paths() -> Schema:
    """Return the routes."""
    return {
        "/api/v1/traffic": {
            "get": {
                "summary": "Rates of the last hour and day, and bytes saved from the Internet: today, this month (UTC), by repo",
                "responses": answer("Traffic", "Minutes of the hour, ten minutes of the day; the oldest first", 400),
            }
        }
    }
