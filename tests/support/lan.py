"""A whole LAN on one host: a stand-in for the Hub, a tracker and a seeder over one cache, and any number of machines.

with Lan(tmp_path) as lan:
    lan.hub.add("org/name", {"model.bin": content})
    lan.mirror("org/name")
    lan.seeded("org/name")
    with lan.machine("ann") as ann:
        ann.download("org/name")
"""

from __future__ import annotations

import urllib.request
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

from llmpt.core.errors import TrackerError
from llmpt.core.repo import RepoRef
from llmpt.tracker.catalogue import Catalogue
from llmpt.tracker.client import TrackerClient
from llmpt.tracker.reading import ReadToken
from llmpt.tracker.torrents import Torrent
from tests.support.hub import FakeHub
from tests.support.machine import Machine
from tests.support.seeder import SeederProcess
from tests.support.tracker import TrackerProcess
from tests.support.waiting import eventually

BIG = 1 << 20  # LLMPT_MIN_BLOB_BYTES: from here on a file has a swarm


class Lan:
    """A context manager; everything it started has ended when it is left. `settings` go to tracker and seeder alike.

    With `upstream` the server fetches from its Hub what nobody has.
    """

    def __init__(self, root: Path, *, upstream: bool = False, **settings: str) -> None:
        self.root = root
        self.hub = FakeHub()
        if upstream:
            settings["LLMPT_UPSTREAM"] = self.hub.url
        self.cache = root / "server-cache"
        self.cache.mkdir(parents=True)
        self._settings = settings
        self._stack = ExitStack()

    def __enter__(self) -> Lan:
        with ExitStack() as stack:
            stack.enter_context(self.hub)
            self.tracker = stack.enter_context(TrackerProcess(self.root / "data", settings=self._settings))
            self.seeder = stack.enter_context(
                SeederProcess(self.root / "data", self.cache, tracker=self.tracker.url, hub=self.hub.url, **self._settings)
            )
            if "LLMPT_UPSTREAM" in self._settings:  # which the tracker learns from a heartbeat
                eventually(self._has_upstream, what="the tracker to know its upstream")
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stack.close()

    def _has_upstream(self) -> bool:
        request = urllib.request.Request(
            f"{self.tracker.url}/activity", headers={"Authorization": f"Bearer {self.tracker.token}"}
        )
        with urllib.request.urlopen(request, timeout=5) as page:
            return self._settings["LLMPT_UPSTREAM"].encode() in page.read()

    @property
    def catalogue(self) -> TrackerClient:
        return TrackerClient(self.tracker.url).read_with(ReadToken(lambda: self.tracker.token))

    def answers_for(self, repo_id: str, repo_type: str = "model") -> bool:
        """Say whether the tracker may answer for the repo in place of the Hub, and every file of its main is here."""
        try:
            manifest = Catalogue(self.catalogue).manifest(RepoRef(repo_type, repo_id), "main")
        except TrackerError:
            return False
        return manifest.complete and manifest.open and all(file.here for file in manifest.files)

    def machine(self, name: str, *, python: Path | None = None, **environ: str) -> Machine:
        """A workstation of this LAN; a context manager of its own. `python` is an environment's, None this one."""
        return Machine(name, tracker=self.tracker.url, hub=self.hub.url, python=python, **environ)

    def mirror(self, repo_id: str, *, repo_type: str = "model", revision: str = "main") -> Path:
        """Put a commit of the Hub into the server's cache, as a download there would have; return the repo's folder."""
        repo = self.hub.repos[repo_type, repo_id]
        commit = repo.commit_of(revision) or ""
        folder = self.cache / RepoRef(repo_type, repo_id).folder
        for name in ("blobs", "refs"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        for path, file in repo.commits[commit].items():
            blob = folder / "blobs" / file.etag
            if not blob.exists():
                blob.with_suffix(".incomplete").write_bytes(file.read(0, file.size))
                blob.with_suffix(".incomplete").rename(blob)
            link = folder / "snapshots" / commit / path
            link.parent.mkdir(parents=True, exist_ok=True)
            if not link.exists():
                link.symlink_to(Path(*[".."] * (path.count("/") + 2), "blobs", file.etag))
        (folder / "refs" / revision).parent.mkdir(parents=True, exist_ok=True)
        (folder / "refs" / revision).write_text(commit)
        return folder

    def torrents(self, repo_id: str, *, repo_type: str = "model") -> list[Torrent]:
        return self.catalogue.get_torrents(repo_id=repo_id, repo_type=repo_type) or []

    def seeded(self, repo_id: str, *, repo_type: str = "model", revision: str = "main", timeout_s: float = 30) -> list[Torrent]:
        """Wait until every big file of a commit is published and has a seeder."""
        repo = self.hub.repos[repo_type, repo_id]
        files = repo.commits[repo.commit_of(revision) or ""].values()
        wanted = {file.etag for file in files if file.size >= BIG}

        def all_seeded() -> list[Torrent]:
            found = [t for t in self.torrents(repo_id, repo_type=repo_type) if t.etag in wanted and t.seeders > 0]
            return found if {t.etag for t in found} == wanted else []

        try:
            return eventually(all_seeded, timeout_s=timeout_s, what=f"{repo_id} to be seeded")
        except AssertionError as error:
            logs = "\n".join(f"--- {log.name}\n{log.read_text()[-6000:]}" for log in (self.tracker.log, self.seeder.log))
            raise AssertionError(f"{error}\n{logs}") from None
