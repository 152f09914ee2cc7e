"""Asking upstream through the seeder: who waits, for how long, and what comes of it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from sqlalchemy import event

from llmpt.core.mirrors import UNREACHABLE, MirrorAsk, MirrorProblem, MirrorReport, MirrorState
from llmpt.core.repo import RepoRef
from llmpt_tracker.announcer.limiter import Limiter
from llmpt_tracker.database.sessions import Database
from llmpt_tracker.errors import Refused, UpstreamRefused
from llmpt_tracker.mirrored_upstream import Bounds, MirroredUpstream, Patience
from llmpt_tracker.questions import Allowance, Allowances, Questions
from llmpt_tracker.rules import mirrors, publication, publish, tokens
from llmpt_tracker.rules.hub.upstream import Client, WantedFile
from tests.support.waiting import eventually
from tests.unit.tracker.bodies import COMMIT, manifest, small
from tests.unit.tracker.conftest import NOW
from tests.unit.tracker.fakes import FakeAnnouncer

ORG = RepoRef("model", "org/name")
SELDOM = 1e-6
ME, OTHER = Client("10.0.0.7"), Client("10.0.0.8")


def failed(message: str, status: int | None = None, code: str | None = None, retry_after_s: int | None = None) -> MirrorReport:
    return MirrorReport(MirrorState.FAILED, error=MirrorProblem(message, status, code, retry_after_s))


class Buckets(FakeAnnouncer):
    """Counts as the announcer does, in one moment."""

    def __init__(self) -> None:
        super().__init__()
        self.limiter = Limiter()

    def take(self, name: str, *, per_s: float, burst: float) -> float:
        return self.limiter.take(name, per_s=per_s, burst=burst, now=0)


class Seeder:
    """Takes what is queued when it is knocked for, and says `answer` of it; publishes it when that is well."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.answer = MirrorReport(MirrorState.DONE)
        self.is_away = False
        self.asked: list[str] = []
        self.knocks = threading.Semaphore(0)
        self.over = False
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def knock(self) -> None:
        self.knocks.release()

    def was_asked(self, times: int) -> bool:
        return len(self.asked) == times

    def end(self) -> None:
        self.over = True
        self.knock()
        self.thread.join(5)

    def _run(self) -> None:
        while self.knocks.acquire() and not self.over:
            if not self.is_away:
                self._work()

    def _work(self) -> None:
        with self.database.reading() as session:
            queued, _ = mirrors.page(session, states=[MirrorState.QUEUED], limit=100, before=None, listings=True, now=NOW)
        for mirror in queued:
            self.asked.append(f"{mirror.ask.revision} {json.dumps(mirror.ask.include)}")
            with self.database.writing() as session:
                if self.answer.state is MirrorState.DONE and mirror.ask.is_listing:
                    body = publication.PublishBody.model_validate(manifest(small("config.json"), refs=["main"]))
                    told = publication.read(body.model_dump_json(exclude_none=True).encode())
                    by = tokens.find(session, "t") or tokens.add(session, "t", name="t", now=NOW)
                    publish.publish(session, told, by=by, min_blob_bytes=1 << 20, now=NOW)
                mirrors.report(session, mirror.id, self.answer, now=NOW)


@pytest.fixture
def seeder(database: Database) -> Iterator[Seeder]:
    made = Seeder(database)
    yield made
    made.end()


def asking(database: Database, seeder: Seeder, patience: Patience) -> MirroredUpstream:
    return MirroredUpstream(lambda: "http://hub", database=database, clock=lambda: NOW, knock=seeder.knock, patience=patience)


@pytest.fixture
def upstream(database: Database, seeder: Seeder) -> MirroredUpstream:
    return asking(database, seeder, Patience(wait_s=5))


def test_what_nobody_knows_is_there_when_learn_returns(upstream: MirroredUpstream, seeder: Seeder) -> None:
    upstream.learn(ORG, None, ME)
    upstream.learn(ORG, COMMIT, ME)  # is whole, and never changes
    assert seeder.asked == ["main []"]


def test_a_ref_of_a_whole_commit_is_looked_up_behind_the_clients_back(upstream: MirroredUpstream, seeder: Seeder) -> None:
    upstream.learn(ORG, "main", ME)
    seeder.is_away = True
    started = time.monotonic()
    upstream.learn(ORG, "main", ME)
    assert time.monotonic() - started < 2


def test_a_ref_is_looked_up_once_in_its_lifetime(database: Database, seeder: Seeder) -> None:
    now = [NOW]
    patience = Patience(wait_s=5, ref_ttl_s=60)
    upstream = MirroredUpstream(
        lambda: "http://hub", database=database, clock=lambda: now[0], knock=seeder.knock, patience=patience
    )
    for seconds, asked in ((0, 1), (6, 1), (59, 1), (60, 2)):
        now[0] = NOW + timedelta(seconds=seconds)
        upstream.learn(ORG, "main", ME)
        eventually(partial(seeder.was_asked, asked), what=f"{asked} questions after {seconds} s")


def test_a_ref_that_is_to_be_confirmed_is_waited_for_a_little_and_once(database: Database, seeder: Seeder) -> None:
    began = time.monotonic()
    upstream = MirroredUpstream(
        lambda: "http://hub",
        database=database,
        clock=lambda: NOW + timedelta(seconds=time.monotonic() - began),
        knock=seeder.knock,
        patience=Patience(confirm_s=0.2),
    )
    upstream.confirm(ORG, "main", ME)
    assert seeder.asked == ["main []"]
    seeder.is_away = True
    started = time.monotonic()
    upstream.confirm(ORG, "dev", ME)
    first_s = time.monotonic() - started
    for _ in range(5):
        upstream.confirm(ORG, "dev", OTHER)
    assert first_s >= 0.2
    assert time.monotonic() - started - first_s < 0.2, "what has not come in time is not waited for again"
    upstream.confirm(ORG, "a..b", ME)


def test_many_who_have_a_ref_confirmed_ask_once(database: Database, seeder: Seeder) -> None:
    upstream = asking(database, seeder, Patience(confirm_s=5))
    with ThreadPoolExecutor(50) as pool:
        list(pool.map(lambda _: upstream.confirm(ORG, "main", ME), range(50)))
    assert seeder.asked == ["main []"]


def test_a_ref_that_upstream_refuses_or_that_finds_no_place_to_wait_is_no_error(database: Database, seeder: Seeder) -> None:
    for answer in (failed("Gateway Timeout", 504), failed("gone", 404, "RevisionNotFound"), failed("no route", code=UNREACHABLE)):
        seeder.answer = answer
        asking(database, seeder, Patience(confirm_s=5)).confirm(ORG, f"at-{len(seeder.asked)}", ME)
    seeder.is_away = True
    asking(database, seeder, Patience(confirm_s=5, most=0)).confirm(ORG, "another", ME)


def test_the_no_of_upstream_is_raised_in_its_words_and_asked_for_once(upstream: MirroredUpstream, seeder: Seeder) -> None:
    seeder.answer = failed("Ask its owner.", 403, "GatedRepo")
    for _ in range(2):
        with pytest.raises(UpstreamRefused, match=r"Ask its owner\.") as no:
            upstream.learn(ORG, "main", ME)
        assert (no.value.status, no.value.code, no.value.retry_after_s) == (403, "GatedRepo", None)
    assert len(seeder.asked) == 1


def test_a_revision_that_cannot_be_is_not_asked_for(upstream: MirroredUpstream, seeder: Seeder) -> None:
    for revision in ("a..b", "x" * 300, "a b", "a\nb"):
        upstream.learn(ORG, revision, ME)
    assert seeder.asked == []


def test_a_429_says_when_to_come_again(upstream: MirroredUpstream, seeder: Seeder) -> None:
    seeder.answer = failed("slowly", 429, retry_after_s=33)
    with pytest.raises(UpstreamRefused) as no:
        upstream.learn(ORG, "main", ME)
    assert no.value.retry_after_s == 33


def has_no_word(upstream: MirroredUpstream, repo: RepoRef) -> None:
    """Ask for a repo of which upstream says nothing: that is no no."""
    with pytest.raises(UpstreamRefused, match=r"not on this LAN, and http://hub gives no answer") as no:
        upstream.learn(repo, "main", ME)
    assert (no.value.status, no.value.code) == (424, "")


def test_an_upstream_that_cannot_be_reached_is_no_not_found_and_is_waited_for_once(database: Database, seeder: Seeder) -> None:
    upstream = asking(database, seeder, Patience(wait_s=5))
    seeder.answer = failed("no route", code=UNREACHABLE)
    has_no_word(upstream, ORG)
    seeder.is_away = True
    started = time.monotonic()
    has_no_word(upstream, RepoRef("model", "org/other"))
    assert time.monotonic() - started < 2


def test_a_listing_that_cannot_be_taken_is_no_reason_to_wait_for_no_other(database: Database, seeder: Seeder) -> None:
    upstream = asking(database, seeder, Patience(wait_s=0.3))
    seeder.answer = failed("the tracker does not take its listing")
    has_no_word(upstream, ORG)
    seeder.is_away = True
    started = time.monotonic()
    has_no_word(upstream, RepoRef("model", "org/other"))
    assert time.monotonic() - started >= 0.3


def test_a_seeder_that_is_away_costs_one_wait(database: Database, seeder: Seeder) -> None:
    upstream = asking(database, seeder, Patience(wait_s=0.3))
    seeder.is_away = True
    started = time.monotonic()
    has_no_word(upstream, ORG)
    assert time.monotonic() - started >= 0.3
    started = time.monotonic()
    for number in range(5):
        has_no_word(upstream, RepoRef("model", f"org/other{number}"))
    assert time.monotonic() - started < 0.3 * 5


def test_a_long_listing_is_not_taken_for_a_seeder_that_is_away(database: Database, seeder: Seeder) -> None:
    upstream = asking(database, seeder, Patience(wait_s=0.3))
    seeder.answer = MirrorReport(MirrorState.RUNNING)
    has_no_word(upstream, ORG)
    started = time.monotonic()
    has_no_word(upstream, RepoRef("model", "org/other"))
    assert time.monotonic() - started >= 0.3, "this one is waited for, too"


def test_many_who_ask_together_wait_for_one_answer(upstream: MirroredUpstream, seeder: Seeder) -> None:
    with ThreadPoolExecutor(20) as pool:
        for done in [pool.submit(upstream.learn, ORG, "main", ME) for _ in range(20)]:
            done.result(timeout=10)
    assert seeder.asked == ["main []"]


def test_many_who_wait_for_as_many_repos_leave_the_database_alone(database: Database, seeder: Seeder) -> None:
    looks: list[str] = []

    def counted(*said: Any) -> None:
        if said[2].startswith("SELECT") and "mirrors" in said[2]:
            looks.append(said[2])

    upstream = asking(database, seeder, Patience(wait_s=1))
    seeder.is_away = True
    event.listen(database.engine, "before_cursor_execute", counted)
    try:
        with ThreadPoolExecutor(40) as pool:
            list(pool.map(lambda number: has_no_word(upstream, RepoRef("model", f"org/name{number}")), range(40)))
    finally:
        event.remove(database.engine, "before_cursor_execute", counted)
    assert len(looks) < 40 * 11, "each is looked at three times as it is asked for, and would be 20 times then"


def test_no_more_than_so_many_requests_wait(database: Database, seeder: Seeder) -> None:
    upstream = asking(database, seeder, Patience(wait_s=5, most=1))
    seeder.is_away = True
    first = threading.Thread(target=upstream.learn, args=(ORG, "main", ME), daemon=True)
    first.start()
    eventually(lambda: upstream._waiting.count == 1, what="the first waits")
    started = time.monotonic()
    with pytest.raises(UpstreamRefused) as busy:  # never as if there were no such repo
        upstream.learn(RepoRef("model", "org/other"), "main", ME)
    assert (busy.value.status, busy.value.retry_after_s) == (503, 3)
    assert time.monotonic() - started < 2
    seeder.is_away = False
    seeder.knock()
    first.join(10)
    assert not first.is_alive()


def test_a_file_is_asked_for_once_in_a_while_whoever_wants_it(upstream: MirroredUpstream, seeder: Seeder) -> None:
    for _ in range(10):
        upstream.fetch(WantedFile(ORG, COMMIT, "a[1].bin", "ab" * 32), ME)
    eventually(lambda: seeder.asked, what="the seeder to be asked")
    assert seeder.asked == [f'{COMMIT} ["a[[]1].bin"]']


@pytest.mark.parametrize(
    ("repo", "revision", "url"),
    [
        (ORG, "main", "http://hub/org/name/resolve/main/a%20b/c.bin"),
        (RepoRef("dataset", "squad"), "refs/pr/1", "http://hub/datasets/squad/resolve/refs%2Fpr%2F1/a%20b/c.bin"),
    ],
)
def test_upstreams_own_url_is_the_hubs(upstream: MirroredUpstream, repo: RepoRef, revision: str, url: str) -> None:
    assert upstream.url(repo, revision, "a b/c.bin") == url


def test_a_repo_that_upstream_does_not_know_is_not_asked_for_by_another_revision(
    upstream: MirroredUpstream, seeder: Seeder
) -> None:
    seeder.answer = failed("Repository Not Found", 401, "RepoNotFound")
    for revision in ("main", "dev", COMMIT):
        with pytest.raises(UpstreamRefused, match="Repository Not Found"):
            upstream.learn(ORG, revision, ME)
    assert seeder.asked == ["main []"]


def test_who_asks_for_more_than_it_may_is_told_when_to_come_again(database: Database, seeder: Seeder) -> None:
    seeder.answer = failed("Repository Not Found", 401, "RepoNotFound")
    questions = Questions(Buckets(), allowances=Allowances(Allowance(1, 2), Allowance(1, 4), Allowance(1, 8)))
    upstream = MirroredUpstream(
        lambda: "http://hub", database=database, clock=lambda: NOW, knock=seeder.knock, bounds=Bounds(questions=questions)
    )
    said = []
    for number in range(4):
        with pytest.raises(UpstreamRefused) as no:
            upstream.learn(RepoRef("model", f"org/made-up-{number}"), "main", ME)
        said.append(no.value.status)
    assert said == [401, 401, 429, 429]
    with pytest.raises(UpstreamRefused, match="Repository Not Found"):
        upstream.learn(ORG, "main", OTHER)
    assert len(seeder.asked) == 3


def test_all_addresses_of_a_machine_leave_others_some_of_the_budget() -> None:
    questions = Questions(Buckets(), allowances=Allowances(Allowance(SELDOM, 3), Allowance(SELDOM, 9), Allowance(SELDOM, 12)))
    taken = [address for number in range(40) if questions.wait_s(address := f"fd00::{number}") == 0]
    assert len(taken) == 9
    assert questions.wait_s("10.0.0.8") == 0


def test_one_asker_has_a_part_of_the_queue_only_and_others_do_not_stand_behind_it(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirrors, "MAX_OPEN_OF_ONE", 2)

    def ask(number: int, asker: str) -> None:
        with database.writing() as session:
            mirrors.ask(session, MirrorAsk(ORG, COMMIT, (f"{number}",)), now=NOW, asker=asker)

    ask(0, "a")
    ask(1, "a")
    with pytest.raises(Refused, match="for you already"):
        ask(2, "a")
    ask(3, "b")
    ask(1, "a")  # is there already
    ask(1, "c")
    taken: list[str] = []
    after = None
    for _ in range(3):
        with database.reading() as session:
            page, after = mirrors.next_page(session, states=list(MirrorState), limit=1, after=after, listings=True, now=NOW)
        taken += [one.ask.include[0] for one in page]
    assert (taken, after) == (["0", "3", "1"], None)
    with database.reading() as session:
        found, _ = mirrors.page(session, states=list(MirrorState), limit=9, before=None, listings=True, now=NOW)
    assert [one.askers for one in found] == [("b",), ("a", "c"), ("a",)]
