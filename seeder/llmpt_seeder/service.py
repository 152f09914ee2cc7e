"""The seeder at work: what the caches hold, less what is seeded, is what there is to do.

    look      scan the caches, judge each repo, and keep the result as a `View`      (`Caches`, every LLMPT_SCAN_INTERVAL)
    verify    give what was never read to the hasher, take in what came of it        (`Verification`)
    publish   the torrents that are new, then the manifests whose blobs are all known (`Publishing`)
    seed      what is published and good; withdraw what is gone, changed, or no longer shared (`Seeding`)

The first step is about everything, each other one about what changed since: a part that cannot do its work now keeps what it
was told of, and after a step that failed everything is judged anew, so that nothing is lost and nothing has to be undone. One
thread does all this; another (`TrackerLink`) sends the heartbeats, also while terabytes are hashed or a scan takes minutes.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import asdict
from itertools import chain, islice
from pathlib import Path

from rich.filesize import decimal

from llmpt.core.blob import Etag
from llmpt.core.errors import StateUnavailable, TrackerError
from llmpt.core.repo import RepoRef
from llmpt_seeder.cache.caches import Caches
from llmpt_seeder.cache.contents import BlobFile, Problem
from llmpt_seeder.hashing.verification import Verification
from llmpt_seeder.life import WORK, Life
from llmpt_seeder.publishing.publishing import Publishing
from llmpt_seeder.seeding import Seeding

log = logging.getLogger("llmpt.seeder")

MAX_REPORTED = 100
PROGRESS_EVERY_S = 5.0


class Service:
    """Owns the reconciliation. Setting `wake` makes it take its next step at once."""

    def __init__(
        self,
        caches: Caches,
        verification: Verification,
        publishing: Publishing,
        seeding: Seeding,
        *,
        wake: threading.Event,
        life: Life,
    ) -> None:
        self._caches, self._verification, self._publishing, self._seeding = caches, verification, publishing, seeding
        self._wake, self._life = wake, life
        self._judge_all, self._has_looked = True, False
        self._problems: tuple[Problem, ...] = ()
        self._said_of: list[Problem] = []
        self._said_renumbered = False
        self._said = 0.0
        self._told = (0, True, 0)

    def step(self) -> float:
        """Look where it is time to, and bring all else in line with it; return in how many seconds to do so again."""
        started = time.monotonic()
        self._wake.clear()
        self._caches.look_when_due()
        self.reconcile()
        now = time.monotonic()
        # With very many blobs the look takes long, and then the machine is left alone for as long.
        self._life.stop.wait(min(now - started, 1.0))
        return min(self._caches.left_s(), PROGRESS_EVERY_S)

    def wait(self, timeout_s: float) -> None:
        """Wait until there is something to do, at most so long."""
        self._wake.wait(timeout_s)

    def hurry(self) -> None:
        """Take the next step at once. May be called from any thread."""
        self._wake.set()

    def look_at(self, cache: Path, repo: RepoRef) -> None:
        """Have one repo of one of the caches looked at again at once, and nothing else. May be called from any thread."""
        self._caches.ask_for(cache, repo)
        self._wake.set()

    def reconcile(self) -> None:
        """Bring hashing, publishing and seeding in line with the last look; what cannot be done now is done next time."""
        self._life.beat(WORK)
        view, good = self._caches.view, self._verification.good
        everything, self._judge_all = self._judge_all, True  # until this step was made
        if everything:
            view.doubt()
        changes = view.take_changes()
        changed = self._verification.judge(view, changes.etags)
        self._has_looked = True
        if everything:
            changed = [*view.blobs, *self._seeding.files]
        self._publishing.mark(changed, changes.commits)
        self._seeding.mark(changed)
        try:
            if (welcome := self._publishing.meet_tracker()) is not None:
                self._publishing.mark(good, view.snapshots)
                self._seeding.mark(good)
                self._seeding.announce_at(welcome)
            self._publishing.publish(view)
        except (TrackerError, StateUnavailable) as error:
            log.info("publishing is put off: %s", error)
        taken = self._publishing.take_taken()
        if self._seeding.knows_any(taken):
            self._seeding.reannounce()  # its announces were refused as long as the tracker did not know the torrent
        self._seeding.mark(taken)
        self._seeding.withdraw(view, good)
        self._seeding.seed(good, has_torrent=self._publishing.has_torrent)
        self._judge_all = False
        self._note_problems()
        self._say_progress()
        told = (len(self._seeding.files), self._verification.progress() is None, len(self._problems))
        if told != self._told:  # the page need not wait for the next heartbeat to see it
            self._told = told
            self._publishing.hurry()

    def blob(self, etag: Etag) -> BlobFile | None:
        """Return the file that holds a shared blob, verified and (if it has a torrent) published; None without one.

        May be called from any thread.
        """
        blob = self._verification.good.get(etag)
        return blob.file if blob is not None and self._publishing.is_out(blob.file) else None

    def has_looked(self) -> bool:
        """Say whether `blob` knows what is here: it does after the first look. May be called from any thread."""
        return self._has_looked

    def report(self) -> dict[str, object]:
        """Return what a heartbeat says of us. May be called from any thread."""
        progress = self._verification.progress()
        return {
            **self._seeding.report(),
            "hashing": asdict(progress) if progress else None,
            "problems": [asdict(problem) for problem in self._problems],
        }

    def _note_problems(self) -> None:
        said, found = self._said_of, self._caches.view.problems
        if said is not found:
            known = set(said)
            for problem in found:
                if problem not in known:
                    log.warning("not shared: %s: %s", problem.what, problem.reason)
            self._said_of = found
        wrong = (Problem(self._caches.name(file.path), why) for file, why in self._verification.wrong())
        state = chain(self._seeding.problems(), self._verification.problems())
        every = chain(state, self._renumbered(), self._caches.problems(), wrong, self._publishing.problems())
        self._problems = tuple(islice(every, MAX_REPORTED))

    def _renumbered(self) -> list[Problem]:
        """Return what is said of files whose inode numbers change; it is logged once, as such a mount goes on with it."""
        found = self._verification.renumbered()
        if found is None:
            return []
        file, count = found
        reason = (
            f"its inode number changed and nothing else did, as that of {count - 1} others (mergerfs, SMB, exFAT, FUSE?): all of"
            " it goes on being seeded, and is read again little by little; an option of the mount may keep the numbers"
        )
        problem = Problem(self._caches.name(file.path), reason)
        if not self._said_renumbered:
            log.warning("%s: %s", problem.what, problem.reason)
            self._said_renumbered = True
        return [problem]

    def _say_progress(self) -> None:
        progress, now = self._verification.progress(), time.monotonic()
        if progress is not None and now - self._said >= PROGRESS_EVERY_S:
            self._said = now
            read, total = decimal(progress.bytes_done), decimal(progress.bytes_total)
            log.info("hashing: %d of %d blobs, %s of %s", progress.blobs_done, progress.blobs_total, read, total)
