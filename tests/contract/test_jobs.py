"""The agent's jobs, held against real sessions on loopback: shared, cancelled, resumed, given up, verified on the way."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from llmpt.agent.directory import Peer
from llmpt.agent.seeding.seeds import Seeds
from llmpt.agent.transfer.jobs import Jobs
from llmpt.agent.transfer.partials import Partials
from llmpt.agent.transfer.parts import JobParts
from llmpt.agent.transfer.timings import JobTimings
from llmpt.core.blob import Etag
from llmpt.core.files import FileId
from llmpt.core.metainfo import Metainfo
from llmpt.core.networks import CidrSet
from llmpt.core.rates import RateLimit
from llmpt.core.repo import RepoPath, RepoRef
from llmpt.disk.inventory import Inventory
from llmpt.disk.torrents import create_torrent
from llmpt.link.answers import Done, Failed, Progress, Refused
from llmpt.link.requests import FetchRequest
from llmpt.swarm import Engine, EngineSettings, EngineTimings, SeededBlob, free_port
from tests.support.blob_server import BlobServer
from tests.support.waiting import eventually

MIB = 1 << 20
TIMINGS = JobTimings(stall_s=3.0)
Answer = Done | Refused | Failed
LOOPBACK = CidrSet.parse("127.0.0.0/8")


@contextmanager
def engine(
    limit: str = "0", *, downloads: bool = True, shares: bool = True, engine_timings: EngineTimings | None = None
) -> Iterator[Engine]:
    limits = RateLimit.parse(limit)
    settings = EngineSettings(("127.0.0.1",), 0, LOOPBACK, upload_limit=limits, downloads=downloads, shares=shares)
    with Engine(settings, timings=engine_timings) as running:
        yield running


@dataclass
class Catalogue:
    """Stands in for the tracker: one blob, and who has it."""

    metainfo: Metainfo
    peers: tuple[Peer, ...] = ()
    announce_url: str = ""
    announce_key: str = ""
    leechers: int = 0
    by_http: str | None = None
    buried: list[Peer] = field(default_factory=list)
    wrong: list[tuple[Metainfo, str]] = field(default_factory=list)

    def lookup(self, etag: Etag) -> Any:
        assert etag == self.metainfo.etag
        return self

    def alive(self, peers: tuple[Peer, ...]) -> tuple[Peer, ...]:
        return peers

    def blob_url(self, etag: Etag) -> str | None:
        return self.by_http

    def bury(self, peers: tuple[Peer, ...]) -> None:
        self.buried += peers


class Blob:
    """8 MiB in a folder of its own, and what is needed to have it seeded and fetched."""

    def __init__(self, folder: Path, size: int = 8 * MIB) -> None:
        self.content = os.urandom(size)
        self.path = folder / hashlib.sha256(self.content).hexdigest()
        self.path.write_bytes(self.content)
        self.metainfo = create_torrent(self.path)
        self.catalogue = Catalogue(self.metainfo)

    def seeded_by(self, engine: Engine) -> None:
        engine.seed(SeededBlob(self.metainfo.etag, self.metainfo.size, self.metainfo.root, self.path))
        self.catalogue.peers = (("127.0.0.1", engine.port),)


class Call:
    """A hook that asks for a blob, in a thread; `hang_up` is its end."""

    def __init__(self, jobs: Jobs, blob: Blob, path: Path, *, replaces: bool = False) -> None:
        self.path, self.destination = path, path.with_name(f"final-{path.name}")
        path.touch()
        found = path.stat()
        self.request = FetchRequest(
            tracker="http://t", etag=blob.metainfo.etag, size=blob.metainfo.size, repo=RepoRef("model", "org/m"), revision="main",
            filename=RepoPath("f"), path=path, file=FileId.of(found), destination=self.destination, replace=replaces,
        )  # fmt: skip
        self.answer: Answer | None = None
        self.heard: list[Progress] = []
        self._hung_up = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(jobs,), daemon=True)
        self._thread.start()

    def _run(self, jobs: Jobs) -> None:
        self.answer = jobs.fetch(self.request, self.heard.append, self._hung_up.is_set)

    def hang_up(self) -> None:
        self._hung_up.set()

    def bytes_shown(self) -> int:
        return max((progress.done_bytes for progress in list(self.heard)), default=0)

    def end(self) -> Answer:
        self._thread.join(60)
        assert not self._thread.is_alive(), self.heard[-1:]
        assert self.answer is not None
        return self.answer

    def done(self) -> Done:
        answer = self.end()
        assert isinstance(answer, Done), answer
        return answer

    def failed(self) -> Failed:
        answer = self.end()
        assert isinstance(answer, Failed), answer
        return answer


@pytest.fixture
def blob(tmp_path: Path) -> Blob:
    (tmp_path / "server").mkdir()
    return Blob(tmp_path / "server")


@pytest.fixture
def slow(blob: Blob) -> Iterator[Engine]:
    """A seeder that needs some time for the blob."""
    with engine("5M", downloads=False) as running:
        blob.seeded_by(running)
        yield running


@contextmanager
def agent(folder: Path, blob: Blob, *, timings: JobTimings = TIMINGS, doors: bool = True, **settings: Any) -> Iterator[Jobs]:
    with engine(**settings) as running, Inventory(folder / "agent.db") as inventory:
        seeds = Seeds(running, inventory)
        catalogue: Any = blob.catalogue

        def complain(torrent: Metainfo, reason: str) -> None:
            blob.catalogue.wrong.append((torrent, reason))

        parts = JobParts(running, catalogue, seeds, on_wrong=complain, timings=timings, doors=folder / "doors" if doors else None)
        jobs = Jobs(parts, Partials(inventory))
        yield jobs
        eventually(lambda: not jobs.running(), what="the jobs to end")


@pytest.fixture
def jobs(tmp_path: Path, blob: Blob) -> Iterator[Jobs]:
    with agent(tmp_path, blob) as running:
        yield running


def name(number: int) -> str:
    return f"{'a' * 64}.0000000{number}.incomplete"


def test_several_that_want_one_blob_share_one_transfer(jobs: Jobs, slow: Engine, blob: Blob, tmp_path: Path) -> None:
    calls = [Call(jobs, blob, tmp_path / name(number)) for number in range(4)]
    answers = [call.done() for call in calls]
    assert sorted(answer.moved for answer in answers) == [False, False, False, True]
    for call, answer in zip(calls, answers, strict=True):
        file = call.destination if answer.moved else call.path
        assert file.read_bytes() == blob.content
        assert file.stat().st_nlink == 1
    eventually(lambda: slow.totals().uploaded_bytes == len(blob.content), what="one copy to have left the seeder")


def test_a_leader_that_hangs_up_leaves_its_follower_the_blob(jobs: Jobs, slow: Engine, blob: Blob, tmp_path: Path) -> None:
    leader = Call(jobs, blob, tmp_path / name(1))
    eventually(lambda: leader.bytes_shown() > MIB, what="bytes to flow")
    follower = Call(jobs, blob, tmp_path / name(2))
    eventually(lambda: follower.heard, what="the follower to follow")
    leader.hang_up()
    follower.done()
    assert follower.path.read_bytes() == blob.content
    assert leader.failed().reason == "cancelled"
    assert leader.path.read_bytes() == blob.content, "it stays for the next try"
    eventually(lambda: slow.totals().uploaded_bytes == len(blob.content), what="one copy to have left the seeder")


def test_a_follower_that_hangs_up_leaves_the_others(jobs: Jobs, slow: Engine, blob: Blob, tmp_path: Path) -> None:
    leader = Call(jobs, blob, tmp_path / name(1))
    eventually(lambda: leader.bytes_shown() > MIB, what="bytes to flow")
    follower = Call(jobs, blob, tmp_path / name(2))
    eventually(lambda: follower.heard, what="the follower to follow")
    follower.hang_up()
    assert follower.end() == Failed("cancelled")
    leader.done()
    assert leader.destination.read_bytes() == blob.content


def test_when_all_have_hung_up_the_transfer_ends(jobs: Jobs, slow: Engine, blob: Blob, tmp_path: Path) -> None:
    calls = [Call(jobs, blob, tmp_path / name(number)) for number in (1, 2)]
    eventually(lambda: all(call.bytes_shown() for call in calls), what="bytes to flow")
    for call in calls:
        call.hang_up()
    assert {call.failed().reason for call in calls} == {"cancelled"}
    eventually(lambda: not jobs.running(), what="the job to end")
    before = slow.totals().uploaded_bytes
    assert before < len(blob.content)


def test_a_killed_leader_that_comes_back_while_others_wait_keeps_its_file(
    jobs: Jobs, slow: Engine, blob: Blob, tmp_path: Path
) -> None:
    leader = Call(jobs, blob, tmp_path / name(1))
    eventually(lambda: leader.bytes_shown() > MIB, what="bytes to flow")
    follower = Call(jobs, blob, tmp_path / name(2))
    eventually(lambda: follower.heard, what="the follower to follow")
    leader.hang_up()
    again = Call(jobs, blob, tmp_path / name(1))
    follower.done()
    file = again.destination if again.done().moved else again.path
    assert file.read_bytes() == follower.path.read_bytes() == blob.content
    eventually(lambda: slow.totals().uploaded_bytes == len(blob.content), what="one copy to have left the seeder")


def test_when_the_only_peer_dies_what_has_come_can_be_used(jobs: Jobs, blob: Blob, tmp_path: Path) -> None:
    with engine("5M", downloads=False) as dying:
        blob.seeded_by(dying)
        call = Call(jobs, blob, tmp_path / name(1))
        eventually(lambda: call.bytes_shown() > 3 * MIB, what="a third of the blob")
    answer = call.failed()
    assert "no byte for 3 s" in answer.reason
    partial = call.path.read_bytes()
    assert sum(stop - start for start, stop in answer.have) >= 2 * MIB
    assert all(partial[start:stop] == blob.content[start:stop] for start, stop in answer.have)


def test_what_an_earlier_try_left_is_used_though_nobody_seeds_now(jobs: Jobs, blob: Blob, tmp_path: Path) -> None:
    path = tmp_path / name(1)
    path.write_bytes(blob.content[: 4 * MIB] + bytes(MIB) + blob.content[5 * MIB : 6 * MIB])
    answer = Call(jobs, blob, path).failed()
    assert answer.have == ((0, 4 * MIB), (5 * MIB, 6 * MIB))
    assert isinstance(Call(jobs, blob, tmp_path / name(2)).end(), Refused)


def test_another_agent_and_another_seeder_go_on_where_the_first_were_killed(blob: Blob, slow: Engine, tmp_path: Path) -> None:
    with agent(tmp_path, blob) as first:
        call = Call(first, blob, tmp_path / name(1))
        eventually(lambda: call.bytes_shown() > 4 * MIB, what="some of the blob")
        call.hang_up()
        call.failed()
    piece = blob.metainfo.piece_length
    left = call.path.read_bytes()
    had = sum(piece for at in range(0, len(left), piece) if left[at : at + piece] == blob.content[at : at + piece])
    assert had > 3 * MIB
    slow.withdraw(blob.metainfo.etag)
    with engine(downloads=False) as other, agent(tmp_path, blob) as second:
        blob.seeded_by(other)
        again = Call(second, blob, call.path)
        again.done()
        assert again.destination.read_bytes() == blob.content
        assert FileId.of(again.destination.stat()) == call.request.file
        (record,) = second.records
        assert record.as_json()["resumed_bytes"] >= had
        assert record.bytes_from_lan <= len(blob.content) - had
        assert other.totals().uploaded_bytes <= len(blob.content) - had + 64 * blob.metainfo.piece_length


def test_most_of_a_file_is_hashed_before_its_last_byte_comes(slow: Engine, blob: Blob, tmp_path: Path) -> None:
    with agent(tmp_path, blob, engine_timings=EngineTimings(alone_s=0.1)) as jobs:
        Call(jobs, blob, tmp_path / name(1)).done()
        (record,) = jobs.records
    assert 0 <= record.tail_bytes < len(blob.content) // 2, "the whole, if it were read again"


def test_a_torrent_whose_content_is_not_the_etags_is_refused_for_a_while(jobs: Jobs, blob: Blob, tmp_path: Path) -> None:
    other = Etag("b" * 64)
    wrong = Metainfo(other, blob.metainfo.size, blob.metainfo.root, blob.metainfo.layer)
    blob.metainfo = blob.catalogue.metainfo = wrong
    with engine(downloads=False) as liar:
        blob.seeded_by(liar)
        answer = Call(jobs, blob, tmp_path / name(1)).failed()
        assert answer.have == ()
        assert "not that of etag" in answer.reason
        again = Call(jobs, blob, tmp_path / name(2)).end()
    assert again == Refused("what the swarm has under this etag is not its content")
    assert blob.catalogue.wrong == [(wrong, answer.reason)], "whoever published it is complained of"
    assert str(tmp_path) not in answer.reason, "and what lies where on this machine is told to nobody"


@pytest.mark.parametrize("doors", [True, False])
def test_a_file_that_a_cleaner_removes_is_missed_at_once_and_nobody_is_accused(
    slow: Engine, blob: Blob, tmp_path: Path, doors: bool
) -> None:
    with agent(tmp_path, blob, doors=doors) as jobs:
        call = Call(jobs, blob, tmp_path / name(1))
        eventually(lambda: call.bytes_shown() > MIB, what="bytes to flow")
        call.path.unlink()
        answer = call.failed()
    assert "removed or replaced" in answer.reason
    assert answer.have == ()
    assert blob.catalogue.wrong == []
    if doors:
        assert list(tmp_path.glob("*.incomplete")) == [], "nothing was made anew"
        assert list((tmp_path / "doors").iterdir()) == []


def test_a_file_that_another_program_puts_in_the_place_of_ours_stays_as_it_is(
    jobs: Jobs, slow: Engine, blob: Blob, tmp_path: Path
) -> None:
    call = Call(jobs, blob, tmp_path / name(1))
    eventually(lambda: call.bytes_shown() > MIB, what="bytes to flow")
    (tmp_path / "theirs").write_bytes(b"theirs" * 1000)
    (tmp_path / "theirs").replace(call.path)
    assert "removed or replaced" in call.failed().reason
    assert call.path.read_bytes() == b"theirs" * 1000
    assert blob.catalogue.wrong == []


def test_another_programs_file_never_gets_the_name_of_a_blob(jobs: Jobs, blob: Blob, tmp_path: Path) -> None:
    """It takes the place of ours after the last look and before the move."""
    rename = Path.rename

    def late(path: Path, target: Path) -> Path:
        (tmp_path / "theirs").write_bytes(b"theirs")
        (tmp_path / "theirs").replace(path)
        return rename(path, target)

    with engine(downloads=False) as seeder, pytest.MonkeyPatch.context() as patch:
        blob.seeded_by(seeder)
        patch.setattr(Path, "rename", late)
        call = Call(jobs, blob, tmp_path / name(1))
        assert "replaced" in call.failed().reason
    assert not call.destination.exists()


def flags_of(path: Path) -> list[int]:
    """Return how this process has a file open, once for each descriptor."""
    numbers = [link.name for link in Path("/proc/self/fd").iterdir() if link.is_symlink() and link.readlink() == path]
    infos = [Path("/proc/self/fdinfo", number).read_text() for number in numbers]
    return [int(line.split()[1], 8) for info in infos for line in info.splitlines() if line.startswith("flags:")]


def test_a_blob_goes_on_being_given_from_where_it_was_moved(jobs: Jobs, blob: Blob, tmp_path: Path) -> None:
    with engine(downloads=False) as seeder:
        blob.seeded_by(seeder)
        call = Call(jobs, blob, tmp_path / name(1))
        assert call.done().moved is True
    # What is held of it reads nothing, and can be written by nobody.
    eventually(
        lambda: [flags & os.O_PATH for flags in flags_of(call.destination)] == [os.O_PATH], what="what read it to be let go of"
    )
    blob.catalogue.peers = (("127.0.0.1", jobs._parts.engine.port),)
    (tmp_path / "other").mkdir()
    with agent(tmp_path / "other", blob) as others:
        again = Call(others, blob, tmp_path / "other" / name(2))
        assert again.done().moved is True
        assert again.destination.read_bytes() == blob.content
    jobs._seeds.withdraw(blob.metainfo.etag)
    eventually(lambda: not flags_of(call.destination), what="the file to be let go of")


def test_a_blob_that_rots_here_is_fetched_from_the_lan_and_given_no_more(jobs: Jobs, blob: Blob, tmp_path: Path) -> None:
    with engine(downloads=False) as seeder:
        blob.seeded_by(seeder)
        call = Call(jobs, blob, tmp_path / name(1))
        assert call.done().moved is True
        rotten = call.destination
        rotten.write_bytes(b"rot" + blob.content[3:])
        jobs._seeds.add(blob.metainfo, rotten, serving=True)  # as a disk does it: nothing shows
        again = Call(jobs, blob, tmp_path / name(2))
        assert again.done().moved is True
        assert again.destination.read_bytes() == blob.content


def test_a_machine_that_shares_nothing_downloads_and_gives_nothing_also_after_a_restart(blob: Blob, tmp_path: Path) -> None:
    with engine(downloads=False) as seeder:
        blob.seeded_by(seeder)
        with agent(tmp_path, blob, shares=False) as selfish:
            call = Call(selfish, blob, tmp_path / name(1))
            assert call.done().moved is True
            assert call.destination.read_bytes() == blob.content
            copy = Call(selfish, blob, tmp_path / name(2))
            assert copy.done(), "this machine's own programs get theirs"
            assert copy.path.read_bytes() == blob.content
    with engine(shares=False) as running, Inventory(tmp_path / "agent.db") as inventory:
        seeds = Seeds(running, inventory)
        seeds.restore()
        assert [seed.etag for seed in seeds.all()] == [blob.metainfo.etag], "known, for copies on this machine"
        assert not running.seeding()


@contextmanager
def over_http(blob: Blob) -> Iterator[BlobServer]:
    """A seeder gives the blob over HTTP, and the tracker knows it."""
    etag = blob.metainfo.etag.value
    with BlobServer({etag: blob.content}) as server:
        blob.catalogue.by_http = f"{server.url}/blobs/{etag}"
        yield server


def test_peers_behind_a_closed_port_are_made_up_for_by_http(jobs: Jobs, blob: Blob, tmp_path: Path) -> None:
    blob.catalogue.peers = (("127.0.0.1", free_port(0)),)
    with over_http(blob) as server:
        call = Call(jobs, blob, tmp_path / name(1))
        answer = call.done()
    assert call.destination.read_bytes() == blob.content
    assert answer.bytes_from_lan == answer.bytes_by_http == len(blob.content)
    assert answer.peers == 1
    assert jobs.records[0].bytes_by_peer == {"http": len(blob.content)}
    assert server.bytes_sent >= len(blob.content)


def test_where_nobody_is_but_a_seeders_http_the_blob_comes_from_there(jobs: Jobs, blob: Blob, tmp_path: Path) -> None:
    with over_http(blob):
        answer = Call(jobs, blob, tmp_path / name(1)).done()
    assert answer.bytes_by_http == len(blob.content)


def test_the_rest_comes_by_http_when_the_only_peer_dies(jobs: Jobs, blob: Blob, tmp_path: Path) -> None:
    with over_http(blob) as server:
        with engine("5M", downloads=False) as dying:
            blob.seeded_by(dying)
            call = Call(jobs, blob, tmp_path / name(1))
            eventually(lambda: call.bytes_shown() > 3 * MIB, what="a third of the blob")
        answer = call.done()
    assert call.destination.read_bytes() == blob.content
    assert 0 < answer.bytes_by_http < len(blob.content) - 2 * MIB
    assert server.bytes_sent < len(blob.content) - 2 * MIB


def test_a_lone_leecher_of_a_lone_seeder_takes_both_ways(blob: Blob, slow: Engine, tmp_path: Path) -> None:
    with agent(tmp_path, blob, timings=replace(TIMINGS, worth_http_bytes=1)) as jobs, over_http(blob):
        call = Call(jobs, blob, tmp_path / name(1))
        answer = call.done()
    assert call.destination.read_bytes() == blob.content
    assert 0 < answer.bytes_by_http <= len(blob.content)


def test_while_a_peer_gives_bytes_the_server_is_not_asked(jobs: Jobs, blob: Blob, tmp_path: Path) -> None:
    with over_http(blob) as server, engine(downloads=False) as seeder:
        blob.seeded_by(seeder)
        answer = Call(jobs, blob, tmp_path / name(1)).done()
    assert answer.bytes_by_http == 0
    assert server.requests == []
