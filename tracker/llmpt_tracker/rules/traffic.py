"""What is counted of bytes: what the LAN gave, what came from the Hub, and what was saved of that.

Machines *received* from the LAN the files that they got to the end from swarms (`arrived`: the size that the catalogue knows,
once a day for a machine), and what seeders gave over HTTP, but for what went to peers of swarms (`beside`): that is in their
files, too. *Saved* is what was received, less what the appliance fetched from the Hub for others (`mirrored`): without llmpt
each machine would have fetched its own. What a machine fetches for itself and for all it would have fetched in any case.

It is written once a minute, by one process of each tracker, in sums: several may write into one database. Days are UTC's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import astuple, dataclass, fields
from datetime import datetime, timedelta

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from llmpt.core.repo import RepoRef
from llmpt_tracker.control.messages import SeederReport, Traffic
from llmpt_tracker.database.models import Blob, File, Repo, Revision
from llmpt_tracker.database.traffic import RepoTraffic, SeederCounter, TrafficRow

MINUTES_KEPT, DAYS_KEPT, MONTHS_KEPT, COUNTERS_KEPT = 1500, 4000, 24, 512
MOST_BYTES_S = 12_500_000_000  # of a seeder: what says more is not believed
MOST_SPREAD = timedelta(minutes=10)
_MINUTE, _DAY = "minute", "day"
_STEP = timedelta(minutes=1)
_BATCH = 500
_MOST = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class ByteCounts:
    """Bytes by where they came from: see `TrafficRow`."""

    swarm_bytes: int = 0
    http_bytes: int = 0
    beside_bytes: int = 0
    hub_bytes: int = 0
    mirrored_bytes: int = 0
    arrived_bytes: int = 0

    def __add__(self, other: ByteCounts) -> ByteCounts:
        return ByteCounts(*(one + more for one, more in zip(astuple(self), astuple(other), strict=True)))

    @property
    def received_bytes(self) -> int:
        """What machines received from the LAN."""
        return self.arrived_bytes + self.http_bytes - self.beside_bytes

    @property
    def saved_bytes(self) -> int:
        """What did not come from the Internet; less than 0 while what was fetched ahead was not used as often."""
        return self.received_bytes - self.mirrored_bytes


_COLUMNS = tuple(field.name for field in fields(ByteCounts))


def keep(
    session: Session, traffic: Traffic, seeders: Iterable[SeederReport], *, since: datetime | None, now: datetime
) -> ByteCounts:
    """Write down what came and was given since the last time, which was at `since` (None: not known), and return it."""
    given = ByteCounts()
    for report in seeders:
        given += _given(session, report, now)
    arrived = _arrived(session, traffic, now)
    mirrored = sum(traffic.mirrored.values())
    counts = given + ByteCounts(hub_bytes=traffic.hub_bytes, mirrored_bytes=mirrored, arrived_bytes=arrived)
    if any(astuple(counts)):
        for minute, part in _spread(counts, since, now):
            _add(session, _MINUTE, minute, part)
        _add(session, _DAY, _midnight(now), counts)
        _prune(session)
    return counts


def _given(session: Session, report: SeederReport, now: datetime) -> ByteCounts:
    """Return what a seeder gave since it was counted last, in any life of this tracker; nothing the first time, or after its
    own start: its counters begin anew then."""
    said, token_id = report.report, report.report.get("token_id")
    if not isinstance(token_id, int):
        return ByteCounts()
    said_at = now - timedelta(seconds=report.age_s)
    totals = [_number(said, name) for name in ("uploaded_bytes", "http_bytes", "peer_http_bytes")]
    counter = session.get(SeederCounter, (token_id, report.id))
    if counter is None:
        session.add(SeederCounter(token_id=token_id, name=report.id, said_at=said_at, **_counters(totals)))
        return ByteCounts()
    elapsed_s = (said_at - counter.said_at).total_seconds()
    if 0 >= elapsed_s > -3600:  # another tracker has counted that; an hour or more: the clock was set back
        return ByteCounts()
    before = (counter.swarm_bytes, counter.http_bytes, counter.beside_bytes)
    most = int(max(elapsed_s, 0) * MOST_BYTES_S)
    swarm, http, beside = (min(max(total - old, 0), most) for total, old in zip(totals, before, strict=True))
    counter.said_at = said_at
    for name, total in _counters(totals).items():
        setattr(counter, name, total)
    return ByteCounts(swarm_bytes=swarm, http_bytes=http, beside_bytes=min(beside, http))


def _counters(totals: Iterable[int]) -> dict[str, int]:
    return dict(zip(("swarm_bytes", "http_bytes", "beside_bytes"), totals, strict=True))


def _number(said: Mapping[str, object], name: str) -> int:
    found = said.get(name, 0)
    return min(max(found, 0), _MOST) if isinstance(found, int) else 0


def _arrived(session: Session, traffic: Traffic, now: datetime) -> int:
    """Return the bytes of the files that machines got to the end, and write them down for their repos: for the first one that had
    such a file, where several have it."""
    total, of_repos, swarms = 0, Counter[int](), list(traffic.arrived)
    for start in range(0, len(swarms), _BATCH):
        found = session.execute(
            select(Blob.swarm, Blob.size, func.min(Revision.repo_id))
            .outerjoin(File, File.blob_id == Blob.id)
            .outerjoin(Revision, Revision.id == File.revision_id)
            .where(Blob.swarm.in_(swarms[start : start + _BATCH]))
            .group_by(Blob.id)
        )
        for swarm, size, repo_id in found:
            bytes_ = size * traffic.arrived[swarm]
            total += bytes_
            if repo_id is not None:
                of_repos[repo_id] += bytes_
    month = _midnight(now).replace(day=1)
    mirrored = {key: count for repo, count in traffic.mirrored.items() if (key := _repo_key(session, repo)) is not None}
    for key in of_repos.keys() | mirrored.keys():
        _add_to_repo(session, key, month, arrived=of_repos[key], mirrored=mirrored.get(key, 0))
    return total


def _repo_key(session: Session, repo: RepoRef) -> int | None:
    return session.scalar(select(Repo.id).where(Repo.type == repo.type, Repo.name == repo.id))


def _spread(counts: ByteCounts, since: datetime | None, now: datetime) -> Iterator[tuple[datetime, ByteCounts]]:
    """Yield the minutes since then, each with its part."""
    minute = now.replace(second=0, microsecond=0)
    if since is None or not timedelta() < now - since <= MOST_SPREAD:  # the clock was set, or the machine slept
        yield minute, counts
        return
    done, at = ByteCounts(), since
    while at < now:
        start = at.replace(second=0, microsecond=0)
        at = min(start + _STEP, now)
        share = (at - since) / (now - since)
        until = ByteCounts(*(count if at == now else int(count * share) for count in astuple(counts)))
        yield start, ByteCounts(*(one - less for one, less in zip(astuple(until), astuple(done), strict=True)))
        done = until


def _add(session: Session, span: str, at: datetime, counts: ByteCounts) -> None:
    more = {getattr(TrafficRow, name): getattr(TrafficRow, name) + getattr(counts, name) for name in _COLUMNS}
    known = (TrafficRow.span == span, TrafficRow.at == at)
    if not session.execute(update(TrafficRow).where(*known).values(more)).rowcount:  # type: ignore[attr-defined]
        session.add(TrafficRow(span=span, at=at, **{name: getattr(counts, name) for name in _COLUMNS}))
        session.flush()


def _add_to_repo(session: Session, key: int, month: datetime, *, arrived: int, mirrored: int) -> None:
    known = (RepoTraffic.repo_id == key, RepoTraffic.month == month)
    more = {
        RepoTraffic.arrived_bytes: RepoTraffic.arrived_bytes + arrived,
        RepoTraffic.mirrored_bytes: RepoTraffic.mirrored_bytes + mirrored,
    }
    if not session.execute(update(RepoTraffic).where(*known).values(more)).rowcount:  # type: ignore[attr-defined]
        session.add(RepoTraffic(repo_id=key, month=month, arrived_bytes=arrived, mirrored_bytes=mirrored))
        session.flush()


def _prune(session: Session) -> None:
    """Keep the newest rows, by their number: a clock that was wrong for a while costs none of the others."""
    for span, kept in ((_MINUTE, MINUTES_KEPT), (_DAY, DAYS_KEPT)):
        oldest = select(TrafficRow.at).where(TrafficRow.span == span).order_by(TrafficRow.at.desc()).offset(kept).limit(1)
        if (at := session.scalar(oldest)) is not None:
            session.execute(delete(TrafficRow).where(TrafficRow.span == span, TrafficRow.at <= at))
    months = select(RepoTraffic.month).distinct().order_by(RepoTraffic.month.desc()).offset(MONTHS_KEPT).limit(1)
    if (month := session.scalar(months)) is not None:
        session.execute(delete(RepoTraffic).where(RepoTraffic.month <= month))
    counters = select(SeederCounter.said_at).order_by(SeederCounter.said_at.desc()).offset(COUNTERS_KEPT).limit(1)
    if (said_at := session.scalar(counters)) is not None:
        session.execute(delete(SeederCounter).where(SeederCounter.said_at <= said_at))


# What is told of it


@dataclass(frozen=True, slots=True)
class RatePoint:
    """Bytes per second from `at` on: what seeders give by BitTorrent and over HTTP, and what comes from the Hub."""

    at: datetime
    swarm_bytes_s: int = 0
    http_bytes_s: int = 0
    hub_bytes_s: int = 0


@dataclass(frozen=True, slots=True)
class RepoSaving:
    """What machines received from the LAN of a repo by BitTorrent this month, and what of that was saved."""

    repo: RepoRef
    received_bytes: int
    saved_bytes: int


def rates(session: Session, *, steps: int, step: timedelta, now: datetime) -> list[RatePoint]:
    """Return the rates of the last `steps`, of as many minutes each as `step` has, up to a minute ago; the oldest first."""
    end = now.replace(second=0, microsecond=0) - _STEP
    start = end - steps * step
    sums = [ByteCounts() for _ in range(steps)]
    known = (TrafficRow.span == _MINUTE, TrafficRow.at >= start, TrafficRow.at < end)
    for row in session.scalars(select(TrafficRow).where(*known)):
        sums[(row.at - start) // step] += _counts(row)
    length_s = int(step.total_seconds())
    return [
        RatePoint(start + number * step, one.swarm_bytes // length_s, one.http_bytes // length_s, one.hub_bytes // length_s)
        for number, one in enumerate(sums)
    ]


def today(session: Session, *, now: datetime) -> ByteCounts:
    """Return what was counted today."""
    return _since(session, _midnight(now), now)


def this_month(session: Session, *, now: datetime) -> ByteCounts:
    """Return what was counted since the first of the month."""
    return _since(session, _midnight(now).replace(day=1), now)


def ever(session: Session, *, now: datetime) -> ByteCounts:
    """Return what was counted in all days that are kept."""
    return _since(session, datetime.min.replace(tzinfo=now.tzinfo), now)


def by_repo(session: Session, *, now: datetime, limit: int) -> list[RepoSaving]:
    """Return the repos of which most was received this month, of those that the session sees."""
    month = _midnight(now).replace(day=1)
    found = (
        select(Repo, RepoTraffic.arrived_bytes, RepoTraffic.mirrored_bytes)
        .join(RepoTraffic, RepoTraffic.repo_id == Repo.id)
        .where(RepoTraffic.month == month)
        .order_by(RepoTraffic.arrived_bytes.desc(), Repo.id)
        .limit(limit)
    )
    return [
        RepoSaving(RepoRef(repo.type, repo.name), arrived, arrived - mirrored)
        for repo, arrived, mirrored in session.execute(found)
    ]


def _since(session: Session, start: datetime, now: datetime) -> ByteCounts:
    sums = [func.coalesce(func.sum(getattr(TrafficRow, name)), 0) for name in _COLUMNS]
    known = (TrafficRow.span == _DAY, TrafficRow.at >= start, TrafficRow.at <= now)
    return ByteCounts(*(int(one) for one in session.execute(select(*sums).where(*known)).one()))


def _counts(row: TrafficRow) -> ByteCounts:
    return ByteCounts(*(getattr(row, name) for name in _COLUMNS))


def _midnight(now: datetime) -> datetime:
    return now.replace(hour=0, minute=0, second=0, microsecond=0)
