"""Asking the tracker of this host how it is, as the container's health check does."""

from __future__ import annotations

import contextlib
import http.client

from llmpt.core.documents import read_json
from llmpt_tracker.settings import TrackerSettings

TIMEOUT_S = 4.0
MOST_BYTES = 65536


def how_it_is(settings: TrackerSettings, *, timeout_s: float = TIMEOUT_S) -> tuple[bool, str]:
    """Return whether it does its work, and what it says. Raises `OSError` when it does not answer within `timeout_s`."""
    host = settings.bind[0].strip("[]")
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    with contextlib.closing(http.client.HTTPConnection(host, settings.http_port, timeout=timeout_s)) as connection:
        try:
            connection.request("GET", "/healthz")
            answer = connection.getresponse()
            text = answer.read(MOST_BYTES)
        except http.client.HTTPException as error:
            raise OSError(f"what answers speaks no HTTP ({error!r})") from error
    try:
        said = read_json(text, most_bytes=MOST_BYTES)
        return answer.status == http.client.OK, str(said.get("status") or said["error"]["message"])
    except (ValueError, AttributeError, KeyError, TypeError):
        return False, f"it answers with status {answer.status}"
