"""Many etags in one question."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from sqlalchemy import event, update

from llmpt.tracker.client import NO_BLOB
from llmpt_tracker.control.messages import Swarm, SwarmPeer
from llmpt_tracker.database.models import MACHINES, File
from llmpt_tracker.database.sessions import Database
from llmpt_tracker.rules.catalogue import lookups
from llmpt_tracker.rules.catalogue.metainfo_texts import MetainfoTexts
from tests.unit.tracker.bodies import COMMIT, MIB, big, manifest, packed, small, torrent
from tests.unit.tracker.conftest import Api
from tests.unit.tracker.fakes import FakeAnnouncer

FILES = [torrent(f"file {number}") for number in range(30)]
ETAGS = [meta.etag.value for meta in FILES]


@pytest.fixture
def known(api: Api) -> Api:
    api.publish({"torrents": packed(*FILES)})
    return api


def ask(api: Api, **body: Any) -> dict[str, Any]:
    answer = api.client.post("/api/v1/lookup", json=body)
    assert answer.status_code == 200, answer.get_data(as_text=True)
    found: dict[str, Any] = answer.get_json()
    return found


def test_all_files_of_a_repo_are_one_question(known: Api, announcer: FakeAnnouncer, database: Database) -> None:
    peer = SwarmPeer("10.0.0.7", 6881)
    announcer.live[FILES[3].info_hash.truncated.hex()] = Swarm(1, 2, 3, (peer,))
    announcer.askers.clear()
    statements: list[str] = []
    event.listen(database.engine, "before_cursor_execute", lambda *said: statements.append(said[2]))
    answer = ask(known, etags=["0" * 64, *reversed(ETAGS), ETAGS[0]])
    assert [one["etag"] for one in answer["torrents"]] == [*reversed(ETAGS)], "in the order of the question, each once"
    at = answer["torrents"][-4]
    assert at == {
        "info_hash": str(FILES[3].info_hash), "etag": ETAGS[3], "size": FILES[3].size,
        "seeders": 1, "leechers": 2, "completed": 3,
        "peers": [{"address": "10.0.0.7", "port": 6881}],
    }  # fmt: skip
    assert (answer["boot_id"], answer["announce_port"]) == ("boot-1", 6969)
    assert len(announcer.askers) == 1, "the announcer is asked once"
    assert len([one for one in statements if "SELECT" in one]) == 1, "and so is the database"


def test_metainfo_comes_for_those_that_are_named_and_never_too_much_of_it(known: Api, database: Database) -> None:
    answer = ask(known, etags=ETAGS[:3], metainfo_of=ETAGS[1:2])
    assert [base64.b64decode(one.get("metainfo", "")) for one in answer["torrents"]] == [b"", FILES[1].encode(), b""]
    with database.reading() as session:
        most = 2 * len(FILES[0].encode())
        found = lookups.find(session, ETAGS, texts=MetainfoTexts(), metainfo_of=ETAGS, most_bytes=most)
    assert [one.metainfo is not None for one in found] == [True, True] + [False] * 28


def test_the_metainfo_of_all_files_is_read_in_one_look_and_for_the_next_machine_not_again(known: Api, database: Database) -> None:
    looks: list[str] = []
    event.listen(database.engine, "before_cursor_execute", lambda *said: looks.append(said[2]))
    for selects in (2, 3):
        answer = ask(known, etags=ETAGS, metainfo_of=ETAGS)
        assert [base64.b64decode(one["metainfo"]) for one in answer["torrents"]] == [meta.encode() for meta in FILES]
        assert len([one for one in looks if "SELECT" in one]) == selects


def test_a_machine_that_asks_how_the_tracker_is_has_it_list_nothing(known: Api, database: Database) -> None:
    looks: list[str] = []
    event.listen(database.engine, "before_cursor_execute", lambda *said: looks.append(said[2]))
    answer = known.client.get(f"/api/v1/torrents?etag={NO_BLOB}").get_json()
    assert (answer["torrents"], answer["boot_id"], answer["announce_port"]) == ([], "boot-1", 6969)
    assert len([one for one in looks if "SELECT" in one]) == 1


def test_no_more_metainfo_is_kept_than_may_be_and_what_was_asked_for_last_is(known: Api, database: Database) -> None:
    size = len(base64.b64encode(FILES[0].encode()))
    texts = MetainfoTexts(2 * size)
    looks: list[str] = []
    event.listen(database.engine, "before_cursor_execute", lambda *said: looks.append(said[2]))

    def is_read(number: int) -> bool:
        looks.clear()
        with database.reading() as session:
            assert lookups.find(session, ETAGS[number : number + 1], texts=texts, metainfo_of=ETAGS)[0].metainfo is not None
        return len([one for one in looks if "SELECT" in one]) == 2

    assert [is_read(number) for number in (0, 1, 0, 2, 0, 1)] == [True, True, False, True, False, True]


COMMIT_OF_ALL = {"repo_type": "model", "repo_id": "org/name", "commit": COMMIT}


@pytest.fixture
def listed(known: Api) -> Api:
    """A commit with thirty files that have a torrent, in the order of their paths, and one that has none."""
    known.publish(manifest(*(big(f"{number:02}.bin", meta) for number, meta in enumerate(FILES)), small("config.json")))
    return known


def test_the_other_files_of_a_commit_come_with_the_first_that_is_wanted(listed: Api, announcer: FakeAnnouncer) -> None:
    announcer.live[FILES[7].info_hash.truncated.hex()] = Swarm(1, 2, 3, (SwarmPeer("10.0.0.7", 6881),))
    announcer.askers.clear()
    answer = ask(listed, etags=[ETAGS[4], "0" * 64], metainfo_of=[ETAGS[4]], beside=COMMIT_OF_ALL)["torrents"]
    assert [one["etag"] for one in answer] == [ETAGS[4], *ETAGS[:4], *ETAGS[5:]], "what is asked for, then the others by path"
    assert [base64.b64decode(one["metainfo"]) for one in answer[1:5]] == [meta.encode() for meta in FILES[:4]]
    assert answer[7]["peers"] == [{"address": "10.0.0.7", "port": 6881}]
    assert len(announcer.askers) == 1, "the announcer is asked once"


def test_a_commits_repo_may_be_written_in_any_case(listed: Api) -> None:
    assert len(ask(listed, etags=ETAGS[:1], beside={**COMMIT_OF_ALL, "repo_id": "Org/Name"})["torrents"]) == len(ETAGS)


def test_what_is_known_of_a_commit_is_not_told_again(listed: Api) -> None:
    answer = ask(listed, etags=[ETAGS[0]], beside={**COMMIT_OF_ALL, "but": ETAGS[2:]})["torrents"]
    assert [one["etag"] for one in answer] == ETAGS[:2]
    assert "metainfo" not in answer[0], "it was not asked for"


def test_of_a_commit_as_many_files_are_told_of_as_an_answer_has_room_for(listed: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookups, "BESIDE_BYTES", 4 * len(FILES[0].encode()))
    first = ask(listed, etags=[ETAGS[0]], beside=COMMIT_OF_ALL)["torrents"]
    assert [one["etag"] for one in first] == ETAGS[:5]
    assert [one["etag"] for one in ask(listed, etags=[], beside={**COMMIT_OF_ALL, "but": ETAGS[:5]})["torrents"]] == ETAGS[5:9]


@pytest.mark.parametrize("changed", [{"commit": "f" * 40}, {"repo_id": "org/other"}, {"repo_type": "dataset"}])
def test_a_commit_that_nobody_published_has_no_files(listed: Api, changed: dict[str, str]) -> None:
    answer = ask(listed, etags=[ETAGS[0]], beside={**COMMIT_OF_ALL, **changed})
    assert [one["etag"] for one in answer["torrents"]] == [ETAGS[0]]


NONSENSE: list[dict[str, Any]] = [
    {}, {"etags": "x"}, {"etags": ["../x"]}, {"etags": [], "more": 1}, {"etags": ["0" * 64] * 1001}, {"etags": [], "peers": 51},
    *({"etags": [], "beside": one} for one in (
        {}, {**COMMIT_OF_ALL, "commit": "main"}, {**COMMIT_OF_ALL, "repo_id": "../x"}, {**COMMIT_OF_ALL, "but": ["0" * 64] * 1001}
    )),
]  # fmt: skip


@pytest.mark.parametrize("body", NONSENSE)
def test_what_makes_no_sense_is_refused(api: Api, body: dict[str, Any]) -> None:
    answer = api.client.post("/api/v1/lookup", json=body)
    assert (answer.status_code, answer.get_json()["error"]["code"]) == (400, "bad_request")


def test_nothing_is_asked_for_nothing(api: Api) -> None:
    assert ask(api, etags=[])["torrents"] == []
    assert ask(api, etags=[torrent("other", 5 * MIB).etag.value])["torrents"] == []


def standing(api: Api, *etags: str) -> dict[str, Any]:
    answer = api.client.post("/api/v1/standing", json={"etags": list(etags)})
    assert answer.status_code == 200, answer.get_data(as_text=True)
    return {one["etag"]: one for one in answer.get_json()["blobs"]}


def test_where_blobs_stand_and_whether_a_publisher_shares_them_is_one_statement(api: Api, database: Database) -> None:
    both, alone, unnamed = FILES[:3]
    api.publish(
        manifest(big("a.bin", both), big("b.bin", alone), repo_id="org/first") | {"torrents": packed(both, alone, unnamed)}
    )
    api.publish(manifest(big("c.bin", both), repo_id="org/second"))
    statements: list[str] = []
    event.listen(database.engine, "before_cursor_execute", lambda *said: statements.append(said[2]))
    found = standing(api, *ETAGS)
    assert len([one for one in statements if "SELECT" in one]) == 1
    assert set(found) == {both.etag.value, alone.etag.value}, "what no manifest names is not in it"
    repos = [{"repo_type": "model", "repo_id": name} for name in ("org/first", "org/second")]
    assert found[both.etag.value] == {"etag": both.etag.value, "published": True, "repos": repos}
    with database.writing() as session:
        session.execute(update(File).where(File.path == "b.bin").values(holders=MACHINES))
    assert not standing(api, alone.etag.value)[alone.etag.value]["published"], "only machines of the LAN have it now"
