"""What the LAN has said is kept for its time, asked for once, and a tracker that does not answer is left alone."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from llmpt.core.errors import TrackerSlow
from llmpt.core.repo import Commit, RepoPath, RepoRef
from llmpt.hook.questions import knowledge as module
from llmpt.hook.questions.knowledge import Knowledge
from llmpt.link.silence import TrackerSilence
from llmpt.tracker.catalogue import File, Manifest
from tests.unit.client.hook.questions.lan import FIRST, REPO, SECOND, SMALL, Clock, MemoryLan, manifest


def test_a_ref_is_kept_for_some_seconds_and_its_commit_for_minutes() -> None:
    lan, clock = MemoryLan({"main": manifest(FIRST), FIRST: manifest(FIRST)}), Clock()
    known = Knowledge(lan, clock=clock)
    for _ in range(3):
        found = known.of_name(REPO, "main")
        assert found is not None
        assert found.commit == FIRST
        assert known.of_commit(REPO, FIRST) is found
    assert lan.asked == {"main": 1}
    clock.now += module.REF_S
    lan.known["main"] = manifest(SECOND)
    found = known.of_name(REPO, "main")
    assert found is not None
    assert found.commit == SECOND
    clock.now += module.COMMIT_S
    assert known.of_commit(REPO, FIRST) is not None
    assert lan.asked == {"main": 2, FIRST: 1}


def test_what_is_not_known_is_asked_again_after_a_moment_only() -> None:
    lan, clock = MemoryLan(), Clock()
    known = Knowledge(lan, clock=clock)
    assert [known.of_commit(REPO, FIRST) for _ in range(3)] == [None] * 3
    assert lan.asked == {FIRST: 1}
    clock.now += module.NOT_KNOWN_S
    lan.known[FIRST] = manifest()
    assert known.of_commit(REPO, FIRST) is not None


def test_a_tracker_that_swallows_questions_is_waited_for_once() -> None:
    lan, clock = MemoryLan(error=TrackerSlow("no answer")), Clock()

    class Slow(MemoryLan):
        def manifest(self, ref: RepoRef, revision: str) -> Manifest:
            clock.now += 2
            return lan.manifest(ref, revision)

    known = Knowledge(Slow(), clock=clock)
    for number in range(100):
        assert known.of_commit(REPO, f"{number:040x}") is None
        clock.now += 0.1
    assert sum(lan.asked.values()) == 1
    clock.now += 60
    lan.error = None
    lan.known[FIRST] = manifest()
    assert known.of_commit(REPO, FIRST) is not None


def test_what_one_program_waited_for_no_other_one_waits_for(tmp_path: Path) -> None:
    clock, environ = Clock(), {"XDG_RUNTIME_DIR": str(tmp_path)}
    tmp_path.chmod(0o700)
    dead = MemoryLan(error=TrackerSlow("no answer"))

    class Silent(MemoryLan):
        def manifest(self, ref: RepoRef, revision: str) -> Manifest:
            clock.now += 1
            return dead.manifest(ref, revision)

        refreshed_manifest = manifest

    for _ in range(3):
        other = Knowledge(Silent(), silence=TrackerSilence("http://server:8000", environ, clock=clock), clock=clock)
        assert other.of_name(REPO, "main") is None
        assert other.at_hand(REPO, "anything")
    assert sum(dead.asked.values()) == 1
    refusing = TrackerSilence("http://refusing:8000", environ, clock=clock)
    assert Knowledge(dead, silence=refusing, clock=clock).of_name(REPO, "main") is None
    assert refusing.left_s() == 0, "what costs nothing is not passed on: it may be starting anew"
    elsewhere = Knowledge(
        MemoryLan({"main": manifest()}), silence=TrackerSilence("http://other:8000", environ, clock=clock), clock=clock
    )
    assert elsewhere.of_name(REPO, "main") is not None
    clock.now += 60
    again = Knowledge(
        MemoryLan({"main": manifest()}), silence=TrackerSilence("http://server:8000", environ, clock=clock), clock=clock
    )
    assert again.of_name(REPO, "main") is not None


def test_many_threads_ask_once() -> None:
    lan, together = MemoryLan({"main": manifest()}), threading.Barrier(8)
    known = Knowledge(lan)

    def ask(_: int) -> object:
        together.wait()
        return known.of_name(REPO, "main")

    with ThreadPoolExecutor(8) as pool:
        assert len({id(found) for found in pool.map(ask, range(8))}) == 1
    assert lan.asked == {"main": 1}


def test_the_memory_is_bounded() -> None:
    many = tuple(File(RepoPath(f"{number}.json"), 4, SMALL.etag) for number in range(module.MOST_FILES // 2))
    commits = [f"{number:040x}" for number in range(4)]
    lan = MemoryLan({commit: Manifest(REPO, Commit(commit), (), True, many, True) for commit in commits})
    known = Knowledge(lan)
    for commit in commits:
        assert known.of_commit(REPO, commit) is not None
    for commit in (commits[3], commits[2]):
        assert known.at_hand(REPO, commit)
    assert not known.at_hand(REPO, commits[0])
