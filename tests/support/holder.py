"""A holder of a token, as a stranger writes one: requests to the tracker, from an address of the loopback network of its own."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import Any

from llmpt_tracker.database.sessions import Database
from llmpt_tracker.rules import tokens
from llmpt_tracker.rules.rights import Rights
from tests.support.tracker import TrackerProcess


class Holder:
    """Sends what it is told to `tracker`, with `token` (None: without one), from `address`."""

    def __init__(self, tracker: TrackerProcess, token: str | None, *, address: str = "127.0.0.1") -> None:
        self.tracker, self.token, self.address = tracker, token, address

    def send(self, method: str, path: str, body: Any = None) -> tuple[int, Any, dict[str, str]]:
        """Return status, body (JSON where it is) and headers of the answer."""
        connection = http.client.HTTPConnection(
            self.tracker.host, self.tracker.http_port, timeout=20, source_address=(self.address, 0)
        )
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {self.token}"} if self.token else {})
        try:
            connection.request(method, path, None if body is None else json.dumps(body).encode(), headers)
            answer = connection.getresponse()
            data = answer.read()
        finally:
            connection.close()
        is_json = answer.headers.get_content_type() == "application/json"
        return answer.status, json.loads(data) if is_json else data, {name.lower(): text for name, text in answer.headers.items()}

    def publish(self, body: Any) -> tuple[int, Any]:
        """Publish; return status and answer."""
        return self.send("POST", "/api/v1/publish", body)[:2]

    def at(self, revision: str, repo: str = "org/name") -> str | None:
        """Return the commit that a revision is, as a client of the Hub's API sees it."""
        status, said, _ = self.send("GET", f"/api/models/{repo}/revision/{revision}")
        return str(said["sha"]) if status == 200 else None


@contextmanager
def opened(tracker: TrackerProcess) -> Iterator[Database]:
    """Yield the tracker's database, as a command beside it opens it."""
    with Database(f"sqlite:///{tracker.data / 'tracker.db'}") as database:
        yield database


def holder(
    tracker: TrackerProcess, scope: str, repos: str | None = None, *, address: str = "127.0.0.1", name: str = "t"
) -> Holder:
    """Return the holder of a new token that an operator made."""
    rights = Rights.read(scope, repos)
    secret = tokens.new_secret(*rights.scopes)
    with opened(tracker) as database, database.writing() as session:
        tokens.grant(session, secret, rights, name=name, now=datetime.now(timezone.utc))
    return Holder(tracker, secret, address=address)
