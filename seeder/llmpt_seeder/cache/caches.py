"""The Hub caches of this server, and what the last look at each of them found.

They are looked at in order, and the first one's files are preferred. The first must be there; the others are looked at when
they are. A cache that cannot be looked at now (a mount that failed?) counts as it was last seen.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from pathlib import Path
from queue import Empty, SimpleQueue

from llmpt.core.files import real_path
from llmpt.core.repo import RepoRef
from llmpt_seeder.cache.contents import CachedRepo, Problem
from llmpt_seeder.cache.misplaced import what_it_is
from llmpt_seeder.cache.scanner import scan, scan_repo
from llmpt_seeder.cache.view import View
from llmpt_seeder.errors import CacheMissing
from llmpt_seeder.life import WORK, Life
from llmpt_seeder.sharing import Sharing, Verdict

log = logging.getLogger("llmpt.seeder")


class Caches:
    """Owns the looks, one every `interval_s` seconds; a repo that was asked for is looked at out of turn."""

    def __init__(self, folders: Sequence[Path], *, sharing: Sharing, life: Life, interval_s: float) -> None:
        self._folders = tuple(folders)
        self._sharing, self._life, self._interval_s = sharing, life, interval_s
        self._look_at = float("-inf")
        self._asked: SimpleQueue[tuple[Path, RepoRef]] = SimpleQueue()
        self._found: dict[Path, dict[RepoRef, tuple[CachedRepo, Verdict]]] = {}
        self._roots: dict[Path, Path] = {}
        self._verdicts: dict[RepoRef, Verdict] = {}
        self._problem: Problem | None = None
        self._misplaced: str | None = None
        self.view = View()

    def look_when_due(self) -> None:
        """Scan every cache when it is time to, else the repos that were asked for.

        A huge cache on a slow disk is looked at less often: no more than a tenth of the time goes into that.
        """
        started = time.monotonic()
        if started < self._look_at:
            self.look_where_asked()
            return
        self.look()
        ended = time.monotonic()
        self._look_at = ended + max(self._interval_s, 9 * (ended - started))

    def left_s(self) -> float:
        """Return the seconds until it is time to look again."""
        return max(0.0, self._look_at - time.monotonic())

    def ask_for(self, folder: Path, repo: RepoRef) -> None:
        """Have one repo of one of the caches looked at, and nothing else. May be called from any thread."""
        self._asked.put((folder, repo))

    def look_where_asked(self) -> None:
        """Scan the repos that were asked for since the last time; of the others the last scan counts."""
        named: set[tuple[Path, RepoRef]] = set()
        while True:
            try:
                named.add(self._asked.get_nowait())
            except Empty:
                break
        for folder, ref in sorted(named):
            self._scan_repo(folder, ref)
        if named:
            self._see()

    def look(self) -> None:
        """Scan every cache, and bring `view` up to date."""
        for folder in self._folders:
            self._scan(folder)
        self._see()

    def problems(self) -> list[Problem]:
        """Return what is wrong with the caches themselves, and with what is shared of them."""
        misplaced = Problem(str(self._folders[0]), self._misplaced) if self._misplaced else None
        return [*(problem for problem in (self._problem, misplaced) if problem), *self.view.problems]

    def shared(self) -> frozenset[RepoRef]:
        """Return the repos that are shared, by the last look. May be called from any thread."""
        return frozenset(self.view.verdicts)  # which is replaced as a whole

    def name(self, path: Path) -> str:
        """Return how a file is called in a report: its path from its cache on."""
        for root in self._roots.values():
            if path.is_relative_to(root):
                return str(path.relative_to(root))
        return str(path)

    def _scan(self, folder: Path) -> None:
        first = folder == self._folders[0]
        if not first and not _is_there(folder):
            return
        last = {ref: repo for ref, (repo, _) in self._found.get(folder, {}).items()}
        found: dict[RepoRef, tuple[CachedRepo, Verdict]] = {}
        try:
            for repo in scan(folder, last=last):
                self._life.beat(WORK)
                if self._life.stop.is_set():
                    return
                found[repo.ref] = repo, self._judge(repo.ref)
        except CacheMissing as error:
            if self._problem is None:
                log.error("%s", error)
            self._problem = Problem(str(folder), str(error))
            return
        if self._problem is not None and self._problem.what == str(folder):
            self._problem = None
        self._found[folder], self._roots[folder] = found, real_path(folder)
        if first:
            self._see_where_it_is(what_it_is(folder) if not found else None)

    def _see_where_it_is(self, words: str | None) -> None:
        if words is not None and words != self._misplaced:
            log.error("%s", words)
        self._misplaced = words

    def _scan_repo(self, folder: Path, ref: RepoRef) -> None:
        if folder == self._folders[0] and folder not in self._found:
            return  # a look at all of it comes first
        found = self._found.setdefault(folder, {})
        try:
            repo = scan_repo(folder, ref, last=found[ref][0] if ref in found else None)
        except OSError as error:
            log.info("%s in %s is looked at later: %s", ref, folder, error.strerror)
            return
        self._roots.setdefault(folder, real_path(folder))
        if repo is None:
            found.pop(ref, None)
        else:
            found[ref] = repo, self._judge(ref)

    def _see(self) -> None:
        self.view.see([self._found.get(folder, {}).values() for folder in self._folders])
        self.view.whole = self._folders[0] in self._found

    def _judge(self, repo: RepoRef) -> Verdict:
        verdict = self._sharing.verdict(repo)
        if self._verdicts.get(repo) != verdict:
            log.info("%s: %s (%s)", repo, "shared" if verdict.shared else "not shared", verdict.reason)
            self._verdicts[repo] = verdict
        return verdict


def _is_there(folder: Path) -> bool:
    """Say whether there is such a folder, or one that cannot be looked at for now."""
    try:
        return folder.is_dir()
    except OSError:
        return True
