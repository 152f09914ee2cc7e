"""Fakes with the Protocols of the real parts: a tracker with a catalogue, an engine, a hasher that hashes at once."""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from llmpt.core.blob import Etag
from llmpt.core.breaker import Breaker
from llmpt.core.errors import ContentMismatch, TrackerRefused, TrackerUnavailable
from llmpt.core.holdings import HeldCommit, HeldRef, Holdings
from llmpt.core.metainfo import Metainfo
from llmpt.core.repo import RepoRef
from llmpt.disk.stamp import stamp_of
from llmpt.disk.torrents import create_torrent
from llmpt.hub.asking import HubNo, HubUnreachable
from llmpt.hub.visibility import HUB_PAUSES
from llmpt.swarm.types import Given, SeededBlob, Totals
from llmpt_seeder.cache.caches import Caches
from llmpt_seeder.cache.contents import BlobFile
from llmpt_seeder.cache.listing import Listing
from llmpt_seeder.hashing.readers import Hashed, Hasher, HashingProgress
from llmpt_seeder.hashing.verification import Verification
from llmpt_seeder.hub.listings import HubListings
from llmpt_seeder.life import Life
from llmpt_seeder.publishing.manifest import PublishLimits
from llmpt_seeder.publishing.publisher import Publisher
from llmpt_seeder.publishing.publishing import Publishing
from llmpt_seeder.publishing.tracker_link import Identity, TrackerLink
from llmpt_seeder.seeding import Seeding
from llmpt_seeder.service import Service
from llmpt_seeder.sharing import Sharing
from llmpt_seeder.state import open_state

MIN_BLOB_BYTES = 1000


class FakeTracker:
    """A catalogue in memory that holds the rule of the real one: a big file's torrent comes before its manifest."""

    url = "http://tracker:8000"
    host = "tracker"

    def __init__(self) -> None:
        self.instance_id, self.boot_id = "instance-1", "boot-1"
        self.token: str | None = "good"
        self.min_blob_bytes: int | None = None
        self.up = True
        self.torrents: dict[str, Metainfo] = {}
        self.manifests: dict[tuple[str, str, str], dict[str, Any]] = {}
        self.bodies: list[Mapping[str, Any]] = []
        self.reports: list[Mapping[str, Any]] = []
        self.repos: list[Mapping[str, object]] = []  # what was said last of who may read them
        self.knows_names = True  # keeps apart what it has on whose word
        self.refuse: Callable[[Mapping[str, Any]], str | None] = lambda body: None

    def connect(self, token: str) -> FakeConnection:
        return FakeConnection(self, token)

    def check(self, token: str) -> None:
        if not self.up:
            raise TrackerUnavailable("no answer from the tracker")
        if token != self.token:
            raise TrackerRefused("unknown token", status=401, code="unauthorized")

    def publish(self, body: Mapping[str, Any]) -> dict[str, object]:
        self.bodies.append(body)
        if reason := self.refuse(body):
            raise TrackerRefused(reason, status=422, code="refused")
        for text in body.get("torrents", ()):
            metainfo = Metainfo.parse(base64.b64decode(text))
            self.torrents[metainfo.etag.value] = metainfo
        for file in body.get("files", ()):
            if (
                file.get("here", True)
                and file["size"] >= (self.min_blob_bytes or MIN_BLOB_BYTES)
                and file["etag"] not in self.torrents
            ):
                raise TrackerRefused(f"unknown etag {file['etag']}", status=422, code="unknown_etag")
        if "commit" in body:
            key = body["repo_type"], body["repo_id"], body["commit"]
            known = {"files": []} if body.get("anew") else self.manifests.get(key, {"files": []})
            files = {file["path"]: file for file in [*known["files"], *body["files"]]}
            self.manifests[key] = {**known, **body, "files": [files[path] for path in sorted(files)]}
        return {"instance_id": self.instance_id, "boot_id": self.boot_id}

    def holdings(self) -> Holdings:
        """Count what it has, as the real one does."""
        commits, refs = [], []
        for (kind, name, commit), told in self.manifests.items():
            here = [file for file in told["files"] if file.get("here", True)]
            torrents = sum(file["etag"] in self.torrents for file in here)
            repo = RepoRef(kind, name)
            if here:
                commits.append(HeldCommit(repo, commit, told["complete"], len(told["files"]), len(here), torrents))
            refs += [HeldRef(repo, ref, commit) for ref in told["refs"]]
        return Holdings(tuple(commits), tuple(refs))

    def start_over(self) -> None:
        """Lose everything, as a tracker whose database was made anew."""
        self.torrents.clear()
        self.manifests.clear()
        self.instance_id += "'"
        self.boot_id += "'"

    def paths(self, repo: RepoRef, commit: str) -> list[str]:
        """Return the files of a commit that are here."""
        files = self.manifests[repo.type, repo.id, commit]["files"]
        return [file["path"] for file in files if file.get("here", True)]


class FakeConnection:
    def __init__(self, tracker: FakeTracker, token: str) -> None:
        self._tracker, self._token = tracker, token
        self.url, self.host = tracker.url, tracker.host

    def publish(self, body: Mapping[str, object]) -> Mapping[str, object]:
        self._tracker.check(self._token)
        return self._tracker.publish(body)

    def heartbeat(self, seeder_id: str, report: Mapping[str, object]) -> Mapping[str, object]:
        self._tracker.check(self._token)
        self._tracker.reports.append(report)
        return {
            "boot_id": self._tracker.boot_id,
            "instance_id": self._tracker.instance_id,
            "announce_port": 6969,
            "announce_key": "k" * 32,
            **({} if self._tracker.min_blob_bytes is None else {"min_blob_bytes": self._tracker.min_blob_bytes}),
            **({"holdings": self._tracker.holdings().digest} if self._tracker.knows_names else {}),
        }

    def say_repos(self, seeder_id: str, repos: Sequence[Mapping[str, object]], *, hub: str) -> None:
        self._tracker.check(self._token)
        self._tracker.repos = list(repos)

    def holdings(self, seeder_id: str) -> Holdings:
        self._tracker.check(self._token)
        return self._tracker.holdings()


class FakeHubTree:
    """What `fetch_tree` would say: a listing, a refusal, or nothing."""

    def __init__(self) -> None:
        self.answers: dict[str, Listing | HubNo] = {}
        self.up = True
        self.asked: list[str] = []

    def __call__(self, repo: RepoRef, commit: str) -> Listing:
        self.asked.append(commit)
        if not self.up:
            raise HubUnreachable("no route")
        answer = self.answers.get(commit) or HubNo(404, "RevisionNotFound", "no such revision", None)
        if isinstance(answer, HubNo):
            raise answer
        return answer


class FakeEngine:
    port = 6881

    def __init__(self) -> None:
        self.blobs: dict[Etag, SeededBlob] = {}
        self.announce_url: str | None = None
        self.reannounced = 0
        self.failing: set[Etag] = set()
        self.unsafe: set[Etag] = set()
        self.seeded_at: list[Path] = []

    def seed(self, blob: SeededBlob, *, announce_url: str | None = None) -> Given:
        if blob.stamp is None or not blob.stamp.is_same(stamp_of(blob.path)):
            return Given.CHANGED
        if blob.etag in self.unsafe:
            return Given.UNSAFE
        self.blobs[blob.etag] = blob
        self.seeded_at.append(blob.path)
        return Given.YES

    def withdraw(self, etag: Etag) -> None:
        del self.blobs[etag]

    def set_announce_url(self, url: str) -> None:
        self.announce_url = url

    def reannounce(self) -> None:
        self.reannounced += 1

    def totals(self) -> Totals:
        return Totals(uploaded_bytes=5, upload_rate_bytes_s=2)

    def unreadable(self) -> frozenset[Etag]:
        failing, self.failing = frozenset(self.failing), set()
        return failing

    def etags(self) -> set[str]:
        return {etag.value for etag in self.blobs}


class InlineHasher:
    """Hashes what is planned when it is asked for results; `read` lists what was read. `held`: it has no time now."""

    def __init__(self) -> None:
        self.planned: list[BlobFile] = []
        self.read: list[Path] = []
        self.held = False
        self.on_read: Callable[[Path], None] = lambda path: None

    def add(self, blobs: Iterable[tuple[BlobFile, Hashable]]) -> None:
        self.planned += [blob for blob, _ in blobs if blob not in self.planned]

    def drop(self, blob: BlobFile) -> None:
        if blob in self.planned:
            self.planned.remove(blob)

    def collect(self) -> list[Hashed]:
        results: list[Hashed] = []
        while self.planned and not self.held:
            blob = self.planned.pop(0)
            self.read.append(blob.path)
            try:
                results.append(Hashed(blob, metainfo=create_torrent(blob.path, etag=blob.etag)))
                self.on_read(blob.path)
            except ContentMismatch as error:
                results.append(Hashed(blob, mismatch=str(error)))
            except OSError as error:
                results.append(Hashed(blob, unreadable=str(error)))
        return results

    def progress(self) -> HashingProgress | None:
        total = sum(blob.size for blob in self.planned)
        return HashingProgress(0, len(self.planned), 0, total, self.planned[0].etag.value) if self.planned else None


class Bench:
    """A service on a real cache and a real state file, among fakes; `restart()` makes it anew as after a crash.

    `pool`: what hashes, in the place of the `hasher` that does it at once.
    `ask`: what the Hub says of a repo, if it is asked.
    """

    def __init__(
        self, database: Path, cache: Path, *, pool: Hasher | None = None, ask: Callable[[RepoRef], tuple[bool, str]] | None = None
    ) -> None:
        self._pool, self.ask = pool, ask or _no_hub
        self.database, self.cache, self.mirror = database, cache, cache.with_name("mirror")
        self.now = 1_000_000.0
        self.tracker, self.hub = FakeTracker(), FakeHubTree()
        self.token: str | None = "good"
        self.min_blob_bytes, self.limits = MIN_BLOB_BYTES, PublishLimits()
        self.patterns: tuple[str, ...] = ("*",)
        self._start()

    def _start(self) -> None:
        self.state = open_state(self.database)
        self.engine, self.hasher = FakeEngine(), InlineHasher()
        self.stop, self.wake = threading.Event(), threading.Event()
        self.stop.set()  # the link makes one attempt of each publish, and waits for nothing
        self.life = Life(self.database.with_name("seeder.alive"), clock=lambda: self.now)
        self.link = TrackerLink(
            Identity(self.state.seeder_id, lambda: self.token, "LLMPT_DATA/publish.token or LLMPT_TOKEN"),
            self.tracker.connect,
            report=lambda: self.service.report(),
            on_news=self.wake.set,
            stop=self.stop,
        )
        self.listings = HubListings(
            memory=self.state,
            fetch=self.hub,
            hub=Breaker(HUB_PAUSES, clock=self.life.clock),
            clock=self.life.clock,
            on_news=self.wake.set,
            stop=self.life.stop,
        )
        sharing = Sharing(self.patterns, memory=self.state, ask=self.ask, clock=self.life.clock)
        self.caches = Caches([self.cache, self.mirror], sharing=sharing, life=self.life, interval_s=10)
        verification = Verification(self._pool or self.hasher, self.state, clock=self.life.clock)
        publisher = Publisher(self.state, post=self.link.publish, clock=self.life.clock, limits=self.limits)
        minimum = self.min_blob_bytes
        publishing = Publishing(self.link, self.listings, verification, publisher, min_blob_bytes=minimum, life=self.life)
        seeding = Seeding(self.engine, self.state)
        self.service = Service(self.caches, verification, publishing, seeding, wake=self.wake, life=self.life)

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *exc: object) -> None:
        self.state.close()

    def restart(self) -> None:
        self.state.close()
        self._start()

    def work(self) -> None:
        """Let it meet the tracker, look at the cache, and do all that follows."""
        self.link.heartbeat()
        self.caches.look()
        for _ in range(3):
            self.service.reconcile()

    def problems(self) -> str:
        return repr(self.service.report()["problems"])


def _no_hub(repo: RepoRef) -> tuple[bool, str]:
    raise AssertionError(f"the Hub was asked about {repo}")
