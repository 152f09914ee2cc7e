"""A holder of a token to share, which is free, fills the database, and has others' right content dropped: with a real tracker."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import datetime, timezone
from hashlib import sha256
from pathlib import Path

import pytest

from llmpt.core import merkle
from llmpt.core.blob import Etag
from llmpt.core.metainfo import Metainfo, piece_length_for
from llmpt_tracker.database.models import Blob, PublisherToken
from tests.support.holder import Holder, holder, opened
from tests.support.tracker import TrackerProcess
from tests.unit.tracker.bodies import MIB, packed, torrent

COUNT = itertools.count(2)
LARGE = 15 << 30  # of so large a blob the metainfo has 120 KiB


@pytest.fixture(scope="module")
def tracker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrackerProcess]:
    with TrackerProcess(tmp_path_factory.mktemp("sharer") / "data") as process:
        yield process


def made_up(name: str, size: int = LARGE) -> Metainfo:
    """Return the torrent of a large blob that there is not: nobody can tell."""
    layer = sha256(name.encode()).digest() * -(-size // piece_length_for(size))
    root = merkle.root_of_layer(layer, piece_length_for(size))
    return Metainfo(Etag(sha256(name.encode()).hexdigest()), size, root, layer)


def address() -> str:
    """Return an address of the loopback network that no other machine has."""
    return f"127.0.1.{next(COUNT)}"


def machine(tracker: TrackerProcess, at: str | None = None) -> Holder:
    """Return a machine that got its token as every machine does."""
    nobody = Holder(tracker, None, address=at or address())
    status, said, _ = nobody.send("POST", "/api/v1/tokens", {"name": "m"})
    assert status == 201, said
    return Holder(tracker, said["token"], address=nobody.address)


def complain(by: Holder, meta: object) -> tuple[int, bool]:
    body = {"etag": meta.etag.value, "info_hash": str(meta.info_hash), "reason": "x"}  # type: ignore[attr-defined]
    status, said, _ = by.send("POST", "/api/v1/reports", body)
    return status, status == 200 and said["dropped"]


def size_of(tracker: TrackerProcess) -> int:
    return sum(file.stat().st_size for file in Path(tracker.data).glob("tracker.db*"))


def test_made_up_torrents_of_one_token_end_at_its_quota(tracker: TrackerProcess) -> None:
    sharer, taken, before = machine(tracker), 0, size_of(tracker)
    with opened(tracker) as database, database.writing() as session:  # most of it is there already: this takes its time
        key = session.query(PublisherToken.id).order_by(PublisherToken.id.desc()).limit(1).scalar()
        names = {"etag": "0" * 64, "info_hash": b"0" * 32, "swarm": b"0" * 20}
        session.add(Blob(**names, size=1, token_id=key, metainfo_bytes=48 << 20, published_at=datetime.now(timezone.utc)))
    for batch in range(20):
        torrents = [made_up(f"{sharer.address} {batch} {one}") for one in range(50)]
        status, said = sharer.publish({"torrents": packed(*torrents)})
        if status != 200:
            break
        taken += 50
    assert (status, said["error"]["code"]) == (403, "quota")
    assert 50 <= taken <= 150
    assert size_of(tracker) - before < 60 * MIB  # with the journal, which holds a part of it twice


def test_a_torrent_of_a_sharer_is_small_and_a_token_costs_budget_on_the_server_itself(tracker: TrackerProcess) -> None:
    sharer = machine(tracker)
    status, said = sharer.publish({"torrents": packed(made_up("huge", size=1 << 39))})
    assert (status, said["error"]["code"]) == (403, "quota")
    answers = [Holder(tracker, None).send("POST", "/api/v1/tokens", {"name": "m"})[0] for _ in range(22)]
    assert answers[-1] == 429
    assert machine(tracker).token  # another machine gets its own meanwhile


def test_one_answer_with_metainfo_is_bounded_whatever_lies_there(tracker: TrackerProcess) -> None:
    publisher = holder(tracker, "publish")
    for batch in range(2):
        assert publisher.publish({"torrents": packed(*(made_up(f"big {batch} {one}") for one in range(50)))})[0] == 200
    status, said, headers = publisher.send("GET", "/api/v1/torrents?include=metainfo&limit=200")
    assert status == 200
    assert int(headers["content-length"]) < 8 * MIB
    assert said["next"] is not None


def test_two_free_tokens_ban_no_content_and_revoke_no_token(tracker: TrackerProcess) -> None:
    honest, contents = machine(tracker), [torrent(f"honest {one}") for one in range(3)]
    assert honest.publish({"torrents": packed(*contents)})[0] == 200
    rogues = [machine(tracker, at) for at in (address(), address())]
    for number, meta in enumerate(contents):
        assert complain(rogues[number % 2], meta) == (200, True)
    other = machine(tracker)
    assert other.publish({"torrents": packed(*contents)})[0] == 200  # a content is nobody's: another machine has it, too
    assert honest.publish({"torrents": packed(torrent("honest still"))})[0] == 200


def test_what_several_machines_have_read_is_not_dropped_on_a_sharers_word(tracker: TrackerProcess) -> None:
    meta = torrent("read by three")
    for _ in range(3):
        assert machine(tracker).publish({"torrents": packed(meta)})[0] == 200
    for _ in range(4):
        assert complain(machine(tracker), meta) == (200, False)
    appliance, its = Holder(tracker, tracker.token), torrent("the appliance's")
    assert appliance.publish({"torrents": packed(its)})[0] == 200
    assert complain(machine(tracker), its) == (200, False)


def test_reports_cost_a_budget_also_with_many_tokens(tracker: TrackerProcess) -> None:
    honest, contents = machine(tracker), [torrent(f"many {one}") for one in range(45)]
    assert honest.publish({"torrents": packed(*contents)})[0] == 200
    at = address()
    rogues = [machine(tracker, at) for _ in range(3)]
    answers = [complain(rogues[number % 3], meta)[0] for number, meta in enumerate(contents)]
    assert answers.count(200) == 40
    assert answers[-1] == 429
