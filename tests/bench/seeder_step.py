"""What one step of the seeder costs beside the look at its caches: when nothing is new, for one new blob, and when much is wrong.

The bars at 20,000 blobs and 200,000 links: 10 ms when nothing is new, 50 ms for one new blob. Each figure is in ms of CPU and
stands beside the one for a quarter of the blobs (growth) and beside the look of the same run (ratio).
"""

from __future__ import annotations

import gc
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from llmpt_seeder.hashing.readers import Hashed
from tests.support.cache_builder import CacheBuilder, RepoBuilder, commit_id
from tests.unit.seeder.fakes import Bench

REVISIONS = 10
FILES = 200  # of each revision
SIZES = (25, 100)  # repos: 5,000 and 20,000 blobs
BAR_S = {"nothing new": 0.010, "one new blob": 0.050}


def main() -> None:
    """Print the figures; nothing is asserted."""
    before: dict[str, float] = {}
    for repos in SIZES:
        with tempfile.TemporaryDirectory() as name:
            figures = _measure(Path(name), repos)
        look_s = figures["the look"]
        print(f"{repos * FILES:,} blobs, {repos * FILES * REVISIONS:,} links")
        for what, seconds in figures.items():
            growth = f", {seconds / before[what]:.1f} × that of {SIZES[0] * FILES:,} blobs" if before else ""
            bar = f", bar {BAR_S[what] * 1e3:.0f} ms" if what in BAR_S else ""
            print(f"  {what}: {seconds * 1e3:.1f} ms ({seconds / look_s:.3f} × the look{growth}{bar})", flush=True)
        before = figures


def _measure(folder: Path, repos: int) -> dict[str, float]:
    cache = CacheBuilder(folder / "hub")
    built = [_repo(cache, number) for number in range(repos)]
    figures: dict[str, float] = {}
    with Bench(folder / "seeder.db", cache.root) as bench:
        bench.work()
        gc.freeze()
        figures["the look"] = _seconds(bench.caches.look)
        figures["first step after a look"] = _seconds(bench.service.reconcile)
        figures["nothing new"] = _seconds(bench.service.reconcile)
        repo, commit = built[-1], commit_id(f"{repos - 1}/0")
        for what, size in (("one new blob", 2000), ("one new blob, small", 20)):
            data = f"{what}".encode().ljust(size, b".")
            repo.link(commit, what, repo.blob(data, lfs=True))
            bench.caches.look()
            figures[what] = sum(_seconds(bench.service.reconcile) for _ in range(3))
        bench.tracker.refuse = lambda body: "no" if body.get("commit") == commit else None
        repo.link(commit, "refused", repo.blob(b"refused", lfs=True))
        bench.caches.look()
        for _ in range(3):
            bench.service.reconcile()
        figures["a refused manifest"] = _seconds(bench.service.reconcile)
    with Bench(folder / "unread.db", cache.root) as bench:
        bench.hasher.collect = _refusing(bench)  # type: ignore[method-assign]
        bench.work()
        figures["all unreadable"] = _seconds(bench.service.reconcile)
    gc.unfreeze()
    return figures


def _refusing(bench: Bench) -> Callable[[], list[Hashed]]:
    def collect() -> list[Hashed]:
        planned, bench.hasher.planned = bench.hasher.planned, []
        return [Hashed(blob, unreadable="Input/output error") for blob in planned]

    return collect


def _repo(cache: CacheBuilder, number: int) -> RepoBuilder:
    """Make a repo of FILES blobs, half of them with a torrent, that each revision names all of."""
    repo = cache.repo(f"org/model-{number:04}")
    blobs = {
        f"data/{n:04}": repo.blob(f"{number}/{n}".encode().ljust(1500 if n % 2 else 20, b"."), lfs=True) for n in range(FILES)
    }
    for revision in range(REVISIONS):
        for path, blob in blobs.items():
            repo.link(commit_id(f"{number}/{revision}"), path, blob)
    return repo


def _seconds(do: Callable[[], object]) -> float:
    started = time.process_time()
    do()
    return time.process_time() - started


if __name__ == "__main__":
    main()
