"""The tracker and the blob servers of its seeders: who has what, at which address, and what becomes of it when one dies."""

from __future__ import annotations

import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from llmpt.core.blob import Etag
from llmpt.core.networks import CidrSet
from llmpt.core.signed_address import is_signed
from llmpt.disk.stamp import FileStamp
from llmpt.host.certificate import Certificate
from llmpt_seeder.blobs import BlobServer, Doors, FileSource, Notices
from llmpt_seeder.blobs.connection import BlobLimits
from llmpt_seeder.cache.contents import BlobFile
from llmpt_tracker.blob_servers import AskingTimings, BlobServers
from llmpt_tracker.control.messages import BlobAddress
from llmpt_tracker.errors import SeedersBusy
from llmpt_tracker.read_keys import ReadKeys
from tests.support.cache_builder import lfs_sha256
from tests.support.certificates import Authority
from tests.support.waiting import eventually
from tests.unit.tracker.fakes import FakeAnnouncer

CONTENT = b"content"
ETAG = lfs_sha256(CONTENT)
TIMINGS = AskingTimings(timeout_s=0.2)


class Site:
    """A tracker's side with a clock that is set by hand, and seeders that are started and stopped."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        path = folder / ETAG
        path.write_bytes(CONTENT)
        self.blob = BlobFile(Etag(ETAG), path, FileStamp.of(path.stat()))
        self.stack, self.now, self.knocks = stack, 100.0, 0
        self.asked: list[int] = []
        self.announcer = FakeAnnouncer()
        self.servers = BlobServers(self.announcer, timings=TIMINGS, clock=lambda: self.now)
        stack.callback(self.servers.close)

    def seeder(
        self,
        *,
        has_it: bool = True,
        shown: str | None = None,
        limits: BlobLimits = BlobLimits(),
        certificate: Certificate | None = None,
        may_get: Callable[[str, bool], bool] = lambda _path, _looks: True,
    ) -> BlobServer:
        def find(etag: Etag) -> BlobFile | None:
            self.asked.append(server.port)
            return self.blob if has_it and etag == self.blob.etag else None

        allowed = CidrSet.parse("127.0.0.0/8")
        doors = Doors(("127.0.0.1",), 0, allowed, certificate=certificate)
        server = self.stack.enter_context(
            BlobServer([FileSource(find)], doors, notices=Notices(self._knock, may_get=may_get), limits=limits)
        )
        self.announcer.serving.append(BlobAddress("127.0.0.1", server.port, shown, tls=certificate is not None))
        return server

    def locate(self, etag: str = ETAG, *, host: str = "server") -> str | None:
        return self.servers.locate(etag, asker="10.0.0.9", host_as_asked=host)

    def _knock(self) -> None:
        self.knocks += 1


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with ExitStack() as stack:
        yield Site(tmp_path, stack)


@pytest.fixture
def silent() -> Iterator[int]:
    """A port at which connections are accepted and never answered."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield int(listening.getsockname()[1])


def test_nobody_has_anything_without_a_seeder(site: Site) -> None:
    assert site.locate() is None
    assert not site.servers.has(ETAG)
    site.servers.knock()


@pytest.mark.parametrize(
    ("shown", "host", "expected"),
    [
        (None, "server", "server"),
        (None, "[fd00::1]", "[fd00::1]"),
        ("10.0.0.7", "server", "10.0.0.7"),
        ("fd00::7", "server", "[fd00::7]"),
    ],
)
def test_a_seeder_is_shown_at_its_address_or_where_we_were_reached(site: Site, shown: str, host: str, expected: str) -> None:
    port = site.seeder(shown=shown).port
    assert site.locate(host=host) == f"http://{expected}:{port}/blobs/{ETAG}"
    assert site.announcer.askers == ["10.0.0.9"]


def test_a_seeder_is_named_only_for_what_it_has(site: Site) -> None:
    site.seeder(has_it=False)
    having = site.seeder()
    for _ in range(5):
        assert site.locate() == f"http://server:{having.port}/blobs/{ETAG}"
    assert site.locate("0" * 64) is None
    assert (site.servers.has(ETAG), site.servers.has("0" * 64)) == (True, False)


def test_a_seeder_that_speaks_tls_is_asked_so_and_named_so_by_a_name_that_a_certificate_has(site: Site, tmp_path: Path) -> None:
    certificate = Certificate(Authority(tmp_path, "lab").certificate("server.pem"), None)
    port = site.seeder(certificate=certificate, shown="127.0.0.1").port
    assert site.locate() == f"https://server:{port}/blobs/{ETAG}"
    assert site.locate("0" * 64) is None
    site.announcer.serving.clear()
    site.now += TIMINGS.listed_s
    port = site.seeder(certificate=certificate, shown="10.0.0.7").port
    assert site.locate() == f"https://10.0.0.7:{port}/blobs/{ETAG}"
    site.servers.knock()
    assert site.knocks == 1


def test_the_load_is_spread(site: Site) -> None:
    ports = {site.seeder().port, site.seeder().port}
    found = {site.locate() for _ in range(50)}
    assert found == {f"http://server:{port}/blobs/{ETAG}" for port in ports}


def test_what_a_seeder_has_is_asked_again_only_after_a_while(site: Site) -> None:
    site.seeder()
    for _ in range(5):
        site.locate()
    assert len(site.asked) == 1
    site.now += TIMINGS.has_it_s
    site.locate()
    assert len(site.asked) == 2


def test_a_blob_that_comes_is_found_at_once(site: Site) -> None:
    site.seeder(has_it=False)
    assert site.locate() is None
    site.seeder()
    site.now += TIMINGS.listed_s
    assert site.locate() is not None


def test_after_a_seeder_has_died_the_other_one_is_named(site: Site) -> None:
    first, second = site.seeder(), site.seeder()
    for _ in range(20):
        site.locate()
    first.close()
    site.now += TIMINGS.has_it_s
    assert {site.locate() for _ in range(20)} == {f"http://server:{second.port}/blobs/{ETAG}"}


def test_a_seeder_that_never_answers_costs_one_time_out_is_then_left_alone_and_never_a_no(site: Site, silent: int) -> None:
    site.announcer.serving.append(BlobAddress("127.0.0.1", silent, None))
    began = time.monotonic()
    for _ in range(5):
        with pytest.raises(SeedersBusy):
            site.locate()
    assert time.monotonic() - began < 2 * TIMINGS.timeout_s, "but for the first one nothing is asked"
    site.now += TIMINGS.skipped_s
    began = time.monotonic()
    with pytest.raises(SeedersBusy):
        site.servers.has(ETAG)
    assert time.monotonic() - began >= TIMINGS.timeout_s, "it is asked again"


def test_a_silent_seeder_hides_no_other_one(site: Site, silent: int) -> None:
    site.announcer.serving.append(BlobAddress("127.0.0.1", silent, None))
    port = site.seeder().port
    for _ in range(5):
        assert site.locate() == f"http://server:{port}/blobs/{ETAG}"
    with pytest.raises(SeedersBusy):
        site.locate("0" * 64)


def test_many_that_ask_a_silent_seeder_at_once_wait_for_one_time_out(site: Site, silent: int) -> None:
    site.announcer.serving.append(BlobAddress("127.0.0.1", silent, None))
    site.servers.knock()
    site.now += TIMINGS.skipped_s
    began = time.monotonic()
    with ThreadPoolExecutor(50) as pool:
        told = [pool.submit(site.servers.has, ETAG) for _ in range(50)]
        assert all(isinstance(one.exception(), SeedersBusy) for one in told)
    assert time.monotonic() - began < 5 * TIMINGS.timeout_s


def test_a_seeder_that_has_gone_but_is_still_listed_is_busy(site: Site) -> None:
    server = site.seeder()
    assert site.locate() is not None
    server.close()
    site.now += TIMINGS.has_it_s
    with pytest.raises(SeedersBusy):
        site.locate()
    site.announcer.serving.clear()  # silent for 30 s
    site.now += TIMINGS.listed_s
    assert site.locate() is None


def test_a_full_seeder_is_named_for_what_it_has(site: Site) -> None:
    full = site.seeder(limits=BlobLimits(connections=0, place_s=0))
    assert site.locate() == f"http://server:{full.port}/blobs/{ETAG}"
    assert site.locate("0" * 64) is None


def test_a_tracker_that_has_just_started_does_not_say_that_no_seeder_has_it(site: Site) -> None:
    site.announcer.age_s = TIMINGS.first_beat_s - 1
    with pytest.raises(SeedersBusy):
        site.locate()
    site.announcer.age_s = TIMINGS.first_beat_s
    assert site.locate() is None


def test_a_connection_that_was_closed_meanwhile_is_no_failure(site: Site) -> None:
    server = site.seeder()
    assert site.locate() is not None
    for connection in list(server._connections):
        connection.hang_up()
    site.now += TIMINGS.has_it_s
    assert site.locate() is not None


def test_a_knock_reaches_every_seeder(site: Site) -> None:
    site.seeder()
    site.seeder()
    site.servers.knock()
    eventually(lambda: site.knocks == 2, what="both to be knocked at")


def test_without_the_announcer_what_it_said_last_counts(site: Site) -> None:
    site.seeder()
    assert site.locate() is not None
    site.announcer.down = True
    site.now += TIMINGS.listed_s
    assert site.locate() is not None
    with pytest.raises(SeedersBusy):
        site.servers.has(ETAG)  # another asker, to which nothing was said


def test_what_the_tracker_asks_a_seeder_gives_the_file_to_none_that_listens(site: Site) -> None:
    keys, heard = ReadKeys(b"secret"), list[tuple[str, bool]]()

    def may_get(path: str, looks: bool) -> bool:
        heard.append((path, looks))
        return is_signed(key, path, now=time.time(), looks=looks)

    site.seeder(may_get=may_get)
    key = keys.blob_key(site.announcer.serving[0].token_id, site.announcer.serving[0].seeder)
    with closing(BlobServers(site.announcer, timings=TIMINGS, keys=keys)) as servers:
        given = servers.locate(ETAG, asker="10.0.0.9", host_as_asked="127.0.0.1")
    assert given is not None
    ((asked, looks),) = heard
    assert looks
    base = given.partition("/blobs/")[0]
    with urllib.request.urlopen(given, timeout=10) as answer:
        assert answer.read() == CONTENT
    with pytest.raises(urllib.error.HTTPError, match="401") as no:
        urllib.request.urlopen(base + asked, timeout=10)
    no.value.close()
