"""Bytes are counted once, in bounded tables, whatever clocks, seeders and restarts do; saved is what the Hub was spared."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from sqlalchemy import func, select

from llmpt.core.repo import RepoRef
from llmpt_tracker.control.messages import SeederReport, Traffic
from llmpt_tracker.database.sessions import Database
from llmpt_tracker.database.traffic import RepoTraffic, TrafficRow
from llmpt_tracker.errors import DatabaseUnavailable
from llmpt_tracker.rules import traffic
from llmpt_tracker.rules.traffic import ByteCounts, RepoSaving
from llmpt_tracker.serve.bookkeeping import Bookkeeping
from tests.unit.tracker.bodies import MIB, big, manifest, packed, torrent
from tests.unit.tracker.conftest import NOW, Api

A, B = torrent("a", 2 * MIB), torrent("b", 3 * MIB)
HERE, OTHER = RepoRef("model", "org/name"), RepoRef("model", "org/other")
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
SWARM_A, SWARM_B = A.info_hash.truncated, B.info_hash.truncated


def keep(
    database: Database, what: Traffic = Traffic(), *seeders: SeederReport, now: datetime = NOW, since: datetime | None = None
) -> ByteCounts:
    with database.writing() as session:
        return traffic.keep(session, what, seeders, since=since, now=now)


def seeder(swarm: int, http: int = 0, beside: int = 0, *, age_s: float = 0.0, token_id: object = 1) -> SeederReport:
    report = {"uploaded_bytes": swarm, "http_bytes": http, "peer_http_bytes": beside, "token_id": token_id}
    return SeederReport("server", age_s, report)


def today(database: Database, now: datetime = NOW) -> ByteCounts:
    with database.reading() as session:
        return traffic.today(session, now=now)


def repos(database: Database, now: datetime = NOW) -> list[RepoSaving]:
    with database.reading() as session:
        return traffic.by_repo(session, now=now, limit=10)


@pytest.fixture
def published(api: Api) -> None:
    api.publish(manifest(big("m", A), torrents=packed(A, B)))
    api.publish({**manifest(big("m", A), big("n", B)), "repo_id": "org/other"})


@pytest.mark.usefixtures("published")
def test_saved_is_what_machines_got_from_the_lan_less_what_was_fetched_for_them(database: Database) -> None:
    keep(database, Traffic({SWARM_A: 9, SWARM_B: 1}, hub_bytes=5 * MIB, mirrored={OTHER: 3 * MIB}))
    found = today(database)
    assert (found.received_bytes, found.hub_bytes) == (21 * MIB, 5 * MIB)
    assert found.saved_bytes == 18 * MIB
    # a file of two repos counts for the one that had it first, so that the sum is the whole
    assert repos(database) == [RepoSaving(HERE, 18 * MIB, 18 * MIB), RepoSaving(OTHER, 3 * MIB, 0)]


@pytest.mark.usefixtures("published")
def test_what_was_fetched_ahead_and_not_used_is_no_saving(database: Database) -> None:
    keep(database, Traffic({}, hub_bytes=MIB, mirrored={HERE: MIB, RepoRef("model", "org/unknown"): MIB}))
    assert today(database).saved_bytes == -2 * MIB
    assert repos(database) == [RepoSaving(HERE, 0, -MIB)]


def test_what_the_catalogue_does_not_know_is_not_believed(database: Database) -> None:
    assert keep(database, Traffic({b"unknown".ljust(20): 1000})) == ByteCounts()
    assert today(database) == ByteCounts()


def test_what_seeders_gave_is_counted_from_one_report_to_the_next(database: Database) -> None:
    keep(database, Traffic(), seeder(5000, 700))  # it may have given that long before this database was made
    assert today(database) == ByteCounts()
    keep(database, Traffic(), seeder(6000, 1700, 300), now=NOW + MINUTE)
    found = today(database)
    assert (found.swarm_bytes, found.http_bytes, found.received_bytes) == (1000, 1000, 700)


def test_a_report_is_counted_once_by_however_many_trackers(database: Database) -> None:
    keep(database, Traffic(), seeder(0))
    for age_s in (0.0, 0.0, 5.0):  # the same, and an older one that another tracker still has
        keep(database, Traffic(), seeder(1000 - int(100 * age_s), age_s=age_s), now=NOW + MINUTE)
    keep(database, Traffic(), seeder(1100), now=NOW + 2 * MINUTE)
    assert today(database).swarm_bytes == 1100


def test_counters_that_go_back_to_zero_take_nothing_away(database: Database) -> None:
    for minute, total in enumerate((0, 1000, 20, 120)):
        keep(database, Traffic(), seeder(total), now=NOW + minute * MINUTE)
    assert today(database).swarm_bytes == 1100


@pytest.mark.parametrize(
    "wrong",
    [{"uploaded_bytes": "many"}, {"uploaded_bytes": -5}, {"uploaded_bytes": None}, {"token_id": None}, {"http_bytes": [1]}],
)
def test_nonsense_in_a_report_counts_nothing(database: Database, wrong: dict[str, object]) -> None:
    for minute in range(2):
        report = {"uploaded_bytes": 0, "token_id": 1} | wrong
        assert keep(database, Traffic(), SeederReport("s", 0, report), now=NOW + minute * MINUTE) == ByteCounts()


def test_a_seeder_that_says_too_much_is_believed_what_a_line_can_carry(database: Database) -> None:
    keep(database, Traffic(), seeder(0))
    keep(database, Traffic(), seeder(10**400), now=NOW + MINUTE)
    assert today(database).swarm_bytes == 60 * traffic.MOST_BYTES_S
    keep(database, Traffic(), seeder(10**400), now=NOW + 2 * MINUTE)
    assert today(database).swarm_bytes == 60 * traffic.MOST_BYTES_S


def rates(database: Database, now: datetime, *, steps: int = 5, step: timedelta = MINUTE) -> list[int]:
    with database.reading() as session:
        return [point.hub_bytes_s for point in traffic.rates(session, steps=steps, step=step, now=now)]


def test_rates_are_those_of_the_minutes_in_which_it_came(database: Database) -> None:
    keep(database, Traffic(hub_bytes=6000), now=NOW + 90 * timedelta(seconds=1), since=NOW + 30 * timedelta(seconds=1))
    assert rates(database, NOW + 3 * MINUTE) == [0, 0, 0, 50, 50]
    assert rates(database, NOW + 21 * MINUTE, steps=2, step=10 * MINUTE) == [10, 0]
    assert today(database, NOW + 3 * MINUTE).hub_bytes == 6000


@pytest.mark.parametrize("since", [None, NOW + DAY, NOW - DAY, NOW])
def test_after_a_jump_of_the_clock_it_counts_for_this_minute(database: Database, since: datetime | None) -> None:
    keep(database, Traffic(hub_bytes=6000), since=since)
    assert rates(database, NOW + 2 * MINUTE) == [0, 0, 0, 0, 100]


def test_a_clock_that_was_ahead_for_a_while_costs_nothing_of_what_was_before(database: Database) -> None:
    keep(database, Traffic(hub_bytes=600))
    keep(database, Traffic(hub_bytes=1), now=NOW + 4000 * DAY)
    assert rates(database, NOW + 2 * MINUTE)[-1] == 10
    assert today(database).hub_bytes == 600
    with database.reading() as session:
        assert traffic.this_month(session, now=NOW).hub_bytes == 600


def test_nothing_at_all_is_zeros_and_writes_no_row(database: Database) -> None:
    keep(database, Traffic(), now=NOW)
    assert rates(database, NOW) == [0] * 5
    assert repos(database) == []
    with database.reading() as session:
        assert session.scalar(select(func.count()).select_from(TrafficRow)) == 0


@pytest.mark.usefixtures("published")
def test_the_tables_are_bounded(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traffic, "MINUTES_KEPT", 3)
    monkeypatch.setattr(traffic, "DAYS_KEPT", 2)
    monkeypatch.setattr(traffic, "MONTHS_KEPT", 1)
    for number in range(6):
        keep(database, Traffic({SWARM_A: 1}), now=NOW + 31 * number * DAY)
    with database.reading() as session:
        assert session.scalars(select(TrafficRow.span).order_by(TrafficRow.span)).all() == ["day"] * 2 + ["minute"] * 3
        assert session.scalar(select(func.count()).select_from(RepoTraffic)) == 1


class Observer:
    """An announcer that has seen something come."""

    def __init__(self) -> None:
        self.came = Traffic(hub_bytes=10)

    def traffic(self) -> Traffic:
        taken, self.came = self.came, Traffic()
        return taken

    def newly_completed(self) -> dict[bytes, int]:
        return {}

    def kept(self, _swarms: object) -> frozenset[bytes]:
        return frozenset()

    def seeders(self) -> list[SeederReport]:
        return []


def test_what_could_not_be_written_is_written_the_next_time(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    observer = Observer()
    books = Bookkeeping(observer, database, clock=lambda: NOW)  # type: ignore[arg-type]
    with monkeypatch.context() as broken:

        def keep(*_: object, **__: object) -> None:
            raise DatabaseUnavailable("full (test)")

        broken.setattr(traffic, "keep", keep)
        books.keep()
    assert today(database) == ByteCounts()
    observer.came = Traffic(hub_bytes=5)
    books.keep()
    books.keep()
    assert today(database).hub_bytes == 15
