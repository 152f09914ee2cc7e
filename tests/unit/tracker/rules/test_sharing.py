"""Machines that share what they fetch: their tokens, what they may do with them, and how often."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import text

from llmpt.core.blob import Etag
from llmpt.core.leases import Ended, FetchProgress, LeaseOutcome, Poll, Want
from llmpt.core.repo import RepoRef
from llmpt_tracker.control.messages import Swarm
from llmpt_tracker.database.sessions import Database
from llmpt_tracker.errors import Refused
from llmpt_tracker.rules import invitations, tokens
from tests.unit.tracker.bodies import MIB, big, manifest, packed, report, small, torrent
from tests.unit.tracker.conftest import NOW, Api, state_of
from tests.unit.tracker.fakes import FakeAnnouncer

A = torrent("a")
B = torrent("b")


def set_sharing(app: Flask, value: str) -> None:
    state = state_of(app)
    app.extensions["llmpt"] = replace(state, settings=replace(state.settings, sharing=value))


@pytest.fixture(autouse=True)
def _as_before(app: Flask) -> Iterator[None]:
    before = state_of(app)
    yield
    app.extensions["llmpt"] = before


@pytest.fixture
def sharer(api: Api) -> str:
    """The token of a machine of the LAN."""
    answer = api.post("tokens", {"name": "desk-7"})
    assert answer.status_code == 201
    assert answer.get_json()["scope"] == "share"
    secret: str = answer.get_json()["token"]
    return secret


def code_of(answer: object) -> str:
    return answer.get_json()["error"]["code"]  # type: ignore[attr-defined,no-any-return]


def poll(**changes: object) -> dict[str, object]:
    want = {"etag": A.etag.value, "size": A.size, "repo_type": "model", "repo_id": "org/name"}
    return {"machine": "life-1", "wants": [want], **changes}


# Tokens


def test_a_machine_gets_a_token_that_is_kept_as_a_hash_and_never_logged(
    api: Api, sharer: str, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    other = api.post("tokens", {"name": "desk-8"}).get_json()["token"]
    assert sharer.startswith("llmpt_share_")
    assert other != sharer
    with database.reading() as session:
        kept = repr(session.execute(text("select * from publisher_tokens")).all())
    assert "desk-8" in kept
    assert sharer not in kept + caplog.text
    assert other not in kept + caplog.text


@pytest.mark.parametrize("body", [b"{", {}, {"name": ""}, {"name": "x" * 81}, {"name": "a", "more": 1}, {"name": "a\nb"}])
def test_a_machine_without_a_name_that_can_be_shown_gets_none(api: Api, body: object) -> None:
    assert api.post("tokens", body).status_code in (400, 422)


def test_where_sharing_is_off_nobody_shares(api: Api, app: Flask, sharer: str) -> None:
    set_sharing(app, "off")
    for route, body in (
        ("tokens", {"name": "a"}),
        ("leases", poll()),
        ("publish", {"torrents": packed(A)}),
        ("mirrors", {"repo_id": "org/name"}),
    ):
        answer = api.post(route, body, token=sharer)
        assert (answer.status_code, code_of(answer)) == (403, "sharing_off"), route
    assert api.publish({"torrents": packed(A)}).status_code == 200  # a publisher is no sharer


def test_where_machines_are_invited_a_code_lets_one_in(api: Api, app: Flask, database: Database) -> None:
    set_sharing(app, "invited")
    with database.writing() as session:
        code = invitations.invite(session, uses=1, days=7, now=NOW)
    assert code_of(api.post("tokens", {"name": "a"})) == "code_needed"
    assert code_of(api.post("tokens", {"name": "a", "code": "aaaaa-bbbbb-ccccc-ddddd"})) == "code_wrong"
    typed = code.upper().replace("-", " ")
    assert api.post("tokens", {"name": "a", "code": typed}).status_code == 201
    assert code_of(api.post("tokens", {"name": "b", "code": code})) == "code_wrong"  # used up


def test_an_invitation_is_kept_as_a_hash_and_ends(database: Database) -> None:
    with database.writing() as session:
        code = invitations.invite(session, uses=2, days=7, now=NOW)
        kept = repr(session.execute(text("select * from invitations")).all())
        assert code not in kept
        assert code.replace("-", "") not in kept
        assert invitations.use(session, code, now=NOW + timedelta(days=6, hours=23))
        assert not invitations.use(session, code, now=NOW + timedelta(days=7))


def test_a_wrong_name_uses_up_no_invitation(api: Api, app: Flask, database: Database) -> None:
    set_sharing(app, "invited")
    with database.writing() as session:
        code = invitations.invite(session, uses=1, days=7, now=NOW)
    assert api.post("tokens", {"name": "a\nb", "code": code}).status_code == 422
    assert api.post("tokens", {"name": "a", "code": code}).status_code == 201


# What a token to share is good for


def test_a_sharer_publishes_torrents_and_no_manifest(api: Api, sharer: str, announcer: FakeAnnouncer) -> None:
    assert api.publish({"torrents": packed(A)}, token=sharer).status_code == 200
    assert announcer.registered == {A.info_hash.truncated}
    answer = api.publish(manifest(small("config.json")), token=sharer)
    assert (answer.status_code, code_of(answer)) == (403, "scope")
    many = packed(*(torrent(str(n), size=MIB) for n in range(257)))
    assert api.publish({"torrents": many}, token=sharer).status_code == 413


def test_a_sharer_is_no_seeder_and_has_no_say_over_what_a_publisher_says(api: Api, sharer: str) -> None:
    assert code_of(api.beat(report(), token=sharer)) == "scope"
    api.publish({"torrents": packed(A)})
    other = torrent("a", size=4 * MIB)
    assert code_of(api.publish({"torrents": packed(other)}, token=sharer)) == "etag_conflict"


def test_a_revoked_sharer_shares_no_more(api: Api, sharer: str, database: Database) -> None:
    with database.writing() as session:
        found = tokens.find(session, sharer)
        assert found is not None
        tokens.revoke(session, found.id, now=NOW)
    assert code_of(api.post("leases", poll(), token=sharer)) == "token_revoked"


def test_scopes_are_checked_where_a_token_is(database: Database) -> None:
    secret = tokens.new_secret(tokens.SHARE)
    with database.writing() as session:
        tokens.add(session, secret, name="x", now=NOW, scope=tokens.SHARE)
    with database.reading() as session:
        assert tokens.authenticate(session, f"Bearer {secret}", ("share", "publish")).name == "x"
        with pytest.raises(Refused, match="scope"):
            tokens.authenticate(session, f"Bearer {secret}")


# Leases


def test_the_announcer_learns_all_that_a_machine_says(api: Api, sharer: str, announcer: FakeAnnouncer) -> None:
    api.publish({"torrents": packed(A)})
    body = poll(
        stall_timeout_s=3,
        fetching=[{"etag": B.etag.value, "bytes": 5, "rate_bytes_s": 6}],
        ended=[{"etag": "1" * 64, "outcome": "published"}, {"etag": "2" * 40, "outcome": "failed"}],
    )
    answer = api.post("leases", body, token=sharer)
    assert answer.get_json() == {
        "leases": [{"etag": A.etag.value, "role": "fetch", "fetcher": "desk-7", "bytes": 0, "rate_bytes_s": 0}],
        "poll_s": 0.5,
        "boot_id": "boot-1",
    }
    said, owner, swarms = announcer.polls[0]
    assert owner.token > 0
    assert owner.name == "desk-7"
    assert said == Poll(
        "life-1",
        stall_timeout_s=3,
        wants=(Want(A.etag, A.size, RepoRef("model", "org/name")),),
        fetching=(FetchProgress(B.etag, 5, 6),),
        ended=(Ended(Etag("1" * 64), LeaseOutcome.PUBLISHED), Ended(Etag("2" * 40), LeaseOutcome.FAILED)),
    )
    assert swarms == {A.etag.value: A.info_hash.truncated}


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        {},
        poll(machine="a b"),
        poll(stall_timeout_s=-1),
        poll(wants=[{"etag": "x", "size": 1, "repo_type": "model", "repo_id": "a"}]),
        poll(wants=[{"etag": A.etag.value, "size": -1, "repo_type": "model", "repo_id": "a"}]),
        poll(wants=[{"etag": A.etag.value, "size": 1, "repo_type": "model", "repo_id": "../a"}]),
        poll(ended=[{"etag": A.etag.value, "outcome": "lost"}]),
        poll(fetching=[{"etag": A.etag.value, "bytes": 1, "rate_bytes_s": 1}] * 2001),
    ],
)
def test_a_poll_that_makes_no_sense_is_refused(api: Api, sharer: str, announcer: FakeAnnouncer, body: object) -> None:
    assert api.post("leases", body, token=sharer).status_code in (400, 422)
    assert announcer.polls == []


def test_only_a_publisher_is_unlimited(api: Api, sharer: str) -> None:
    assert code_of(api.post("leases", poll(unlimited=True), token=sharer)) == "scope"
    assert api.post("leases", poll(unlimited=True)).status_code == 200


# How often


def test_whoever_asks_too_often_is_told_when_to_come_back(api: Api, sharer: str, announcer: FakeAnnouncer) -> None:
    announcer.wait_s = 7.2
    requests: list[tuple[str, dict[str, object]]] = [
        ("tokens", {"name": "a"}),
        ("leases", poll()),
        ("publish", {"torrents": packed(A)}),
        ("reports", {}),
        ("mirrors", {"repo_id": "org/name"}),
    ]
    for route, body in requests:
        header = {"Authorization": f"Bearer {sharer}"}
        answer = api.client.post(f"/api/v1/{route}", json=body, headers=header, environ_base={"REMOTE_ADDR": "10.0.0.1"})
        assert (answer.status_code, answer.headers.get("Retry-After")) == (429, "8"), route
    assert api.beat(report()).status_code == 429
    assert {name.split()[0] for name, _, _ in announcer.taken} == {*(route for route, _ in requests), "heartbeats"}


def test_the_seeder_of_this_server_may_do_things_as_often_as_it_likes(
    api: Api, database: Database, announcer: FakeAnnouncer
) -> None:
    announcer.wait_s = 9
    secret = tokens.new_secret()
    with database.writing() as session:
        tokens.add(session, secret, name="whatever it is called", now=NOW, appliance=True)
    assert api.publish({"torrents": packed(A)}, token=secret).status_code == 200
    assert api.post("leases", poll(unlimited=True), token=secret).status_code == 200


def test_tokens_are_counted_by_address_and_one_ipv6_network_is_one(api: Api, announcer: FakeAnnouncer) -> None:
    addresses = ["10.0.0.1", "fd00::1", "fd00::2", "127.0.0.1"]  # the last one, the server itself, is a machine like any other
    for address in addresses:
        api.client.post("/api/v1/tokens", json={"name": "a"}, environ_base={"REMOTE_ADDR": address})
    assert [name for name, _, _ in announcer.taken] == [
        *("tokens 10.0.0.1", "tokens of a network 10.0.0.1", "tokens of all"),
        *("tokens fd00::1", "tokens of a network fd00::/64", "tokens of all"),
        *("tokens fd00::2", "tokens of a network fd00::/64", "tokens of all"),
        *("tokens 127.0.0.1", "tokens of a network 127.0.0.1", "tokens of all"),
    ]
    assert announcer.taken[0][1:] == (20 / 3600, 20)


# On whose word a torrent is here


def test_a_publishers_torrent_replaces_a_sharers(api: Api, sharer: str, announcer: FakeAnnouncer) -> None:
    wrong = torrent("a", size=9 * MIB)
    api.publish({"torrents": packed(wrong)}, token=sharer)
    assert api.publish(manifest(big("m", A), torrents=packed(A))).status_code == 200
    assert announcer.registered == {A.info_hash.truncated}
    (entry,) = api.torrents(etag=A.etag.value)
    assert (entry["size"], entry["info_hash"]) == (A.size, str(A.info_hash))
    assert entry["appears_in"]


def test_a_sharers_torrent_of_another_size_does_not_stand_in_a_manifests_way(
    api: Api, sharer: str, announcer: FakeAnnouncer
) -> None:
    wrong = torrent("a", size=9 * MIB)
    api.publish({"torrents": packed(wrong, B)}, token=sharer)
    line = {**big("m", A), "here": False}
    assert api.publish(manifest(line)).status_code == 200
    assert announcer.registered == {B.info_hash.truncated}
    assert api.torrents(etag=A.etag.value) == []


def test_what_a_publisher_confirms_is_its_word_from_then_on(api: Api, sharer: str) -> None:
    api.publish({"torrents": packed(A)}, token=sharer)
    api.publish({"torrents": packed(A)})
    answer = api.post("reports", {"etag": A.etag.value, "info_hash": str(A.info_hash), "reason": "x"}, token=sharer)
    assert answer.get_json() == {"dropped": False}
    assert len(api.torrents()) == 1


def test_two_sharers_do_not_replace_each_other(api: Api, sharer: str) -> None:
    other = api.post("tokens", {"name": "desk-8"}).get_json()["token"]
    api.publish({"torrents": packed(A)}, token=sharer)
    assert code_of(api.publish({"torrents": packed(torrent("a", size=9 * MIB))}, token=other)) == "etag_conflict"
    assert api.publish({"torrents": packed(A)}, token=other).status_code == 200


def test_what_a_sharer_published_is_found_and_fills_the_manifests_line(api: Api, sharer: str, announcer: FakeAnnouncer) -> None:
    api.publish(manifest({**big("m", A), "here": False}))
    api.publish({"torrents": packed(A)}, token=sharer)
    announcer.live[A.info_hash.truncated.hex()] = Swarm(1, 0, 0)
    (entry,) = api.torrents(repo_id="org/name", path="m")
    assert (entry["etag"], entry["seeders"]) == (A.etag.value, 1)
