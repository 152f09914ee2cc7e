"""A published catalogue, asked as the Hub: one whole model, one that is known in part, a dataset and a space."""

from __future__ import annotations

import json
from hashlib import sha1, sha256
from typing import Any

from flask import Flask
from sqlalchemy import select
from werkzeug.test import TestResponse

from llmpt_tracker.control.messages import Swarm
from llmpt_tracker.database.models import Absent, Revision
from tests.unit.tracker.bodies import COMMIT, OTHER_COMMIT, big, manifest, packed, small, torrent
from tests.unit.tracker.conftest import Api, state_of
from tests.unit.tracker.fakes import FakeAnnouncer, FakeBlobs

WEIGHTS = torrent("weights")
CARD = {"license": "mit", "tags": ["tiny"], "pipeline_tag": "text-generation", "library_name": "transformers", "language": ["en"]}
EMPTY = {"path": "empty.txt", "size": 0, "etag": sha1(b"blob 0\0").hexdigest(), "lfs": False}
SMALL_LFS = {"path": "small.bin", "size": 7, "etag": sha256(b"content").hexdigest(), "lfs": True}
WHOLE = [
    big("model.safetensors", WEIGHTS),
    small("config.json"),
    small("data/a.json", 5),
    small("data/deep/b c.json", 6),
    small("data-1.json", 7),
    small("ünï/cödé #1%.txt", 8),
    EMPTY,
    SMALL_LFS,
]
PART_COMMIT = "1234567890" * 4


class HubClient:
    """The application as a client of the Hub sees it. Paths go out as they are, byte for byte."""

    def __init__(self, app: Flask, blobs: FakeBlobs, announcer: FakeAnnouncer) -> None:
        self.app, self.client = app, app.test_client()
        self.blobs, self.announcer = blobs, announcer

    def ask(self, method: str, target: str, **more: Any) -> TestResponse:
        path, _, query = target.partition("?")
        environ = {"RAW_URI": target, "REQUEST_URI": target, **more.pop("environ_overrides", {})}
        return self.client.open(path, method=method, query_string=query, environ_overrides=environ, **more)

    def get(self, target: str, **more: Any) -> TestResponse:
        return self.ask("GET", target, **more)

    def head(self, target: str, **more: Any) -> TestResponse:
        return self.ask("HEAD", target, **more)

    def json(self, target: str, **more: Any) -> Any:
        answer = self.get(target, **more)
        assert (answer.status_code, answer.mimetype) == (200, "application/json"), answer.get_data(as_text=True)
        return answer.get_json()

    def all_are_here(self) -> None:
        """Let blob servers have every published file, and the weights a live seeder."""
        self.blobs.held = {line["etag"] for line in WHOLE}
        self.announcer.live[WEIGHTS.info_hash.truncated.hex()] = Swarm(seeders=1)

    def learned(self, commit: str, *, absent: tuple[str, ...] = (), card: dict[str, Any] | None = None) -> None:
        """Enter what a publisher may also say of a commit."""
        with state_of(self.app).database.writing() as session:
            revision = session.scalars(select(Revision).where(Revision.commit == commit)).one()
            revision.card = json.dumps(card) if card is not None else None
            session.add_all(Absent(revision_id=revision.id, path=path) for path in absent)


def publish_all(api: Api, hub: HubClient) -> None:
    """Publish the four repos."""
    bodies = [
        manifest(*WHOLE, torrents=packed(WEIGHTS), refs=["main", "feature/x", "refs/pr/1", "refs/convert/parquet"]),
        manifest(small("config.json"), small("data/a.json", 5), repo_id="org/part", commit=PART_COMMIT, complete=False),
        manifest(small("train.csv", 9), repo_type="dataset", repo_id="squad", commit=OTHER_COMMIT),
        manifest(small("app.py", 9), repo_type="space", repo_id="org/name", commit=OTHER_COMMIT),
    ]
    for body in bodies:
        answer = api.publish(body)
        assert answer.status_code == 200, answer.get_data(as_text=True)
    hub.learned(COMMIT, card=CARD)
    hub.learned(PART_COMMIT, absent=("adapter_config.json",))
