"""A holder of a token to publish tries to be the word on repos that are another one's: with a real tracker."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from click.testing import CliRunner

from llmpt_tracker.announcer.peers.seeders import MAX_SEEDERS, Seeders
from llmpt_tracker.cli import cli
from tests.support.holder import Holder, holder
from tests.support.tracker import TrackerProcess
from tests.support.waiting import eventually
from tests.unit.tracker.bodies import elsewhere, manifest, packed, report, small, torrent

COUNT = itertools.count()
TRUE, FAKE = "1" * 40, "f" * 40


@pytest.fixture(scope="module")
def tracker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrackerProcess]:
    with TrackerProcess(tmp_path_factory.mktemp("publisher") / "data") as process:
        yield process


@pytest.fixture
def repo() -> str:
    return f"org/name-{next(COUNT)}"


@pytest.fixture
def appliance(tracker: TrackerProcess) -> Holder:
    return Holder(tracker, tracker.token)


@pytest.fixture
def rogue(tracker: TrackerProcess) -> Holder:
    """It may publish every repo, as tokens of before patterns may."""
    return holder(tracker, "publish", name="rogue")


class Server(ThreadingHTTPServer):
    """A blob server that says to have everything, and serves what it likes."""

    def __init__(self) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                self.send_response(200)
                self.send_header("Content-Length", "612")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Handler)


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as one:
        thread = threading.Thread(target=one.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        yield one
        one.shutdown()
        thread.join()


def _await_location(asker: Holder, repo: str, server: Server) -> None:
    """Wait until a client is sent to `server`: which servers there are is believed for half a second."""
    expected = f"http://127.0.0.1:{server.server_address[1]}/blobs/{small('config.json')['etag']}"
    ask = f"/{repo}/resolve/main/config.json"
    eventually(
        lambda: asker.send("GET", ask)[2].get("location", "").partition("?")[0] == expected,
        timeout_s=10,
        what=f"{repo} is served by {expected}",
    )


def operator(tracker: TrackerProcess, *command: str) -> str:
    """Run a command of the operator; return what it says."""
    result = CliRunner().invoke(cli, command, env={"LLMPT_DATA": str(tracker.data)}, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_no_token_moves_a_ref_that_another_has_set(appliance: Holder, rogue: Holder, repo: str) -> None:
    appliance.publish(manifest(small("config.json"), repo_id=repo, commit=TRUE, seeder="server"))
    status, said = rogue.publish(manifest(elsewhere(small("evil.py")), repo_id=repo, commit=FAKE, seeder="rogue"))
    assert status == 200  # what it has is told
    assert [one["ref"] for one in said["refs_kept"]] == ["main"]
    assert f"llmpt-tracker ref set {repo} main {FAKE}" in said["refs_kept"][0]["message"]
    assert rogue.at("main", repo) == TRUE


def test_nor_with_the_name_of_its_seeder_or_without_a_name(appliance: Holder, rogue: Holder, repo: str) -> None:
    appliance.publish(manifest(small("config.json"), repo_id=repo, commit=TRUE, seeder="server"))
    for sign in ({"seeder": "server"}, {"seeder": "server", "anew": True}, {}):
        rogue.publish(manifest(elsewhere(small("evil.py")), repo_id=repo, commit=FAKE, **sign))
        assert rogue.at("main", repo) == TRUE


def test_nor_after_the_owner_has_been_away_for_a_day(tracker: TrackerProcess, rogue: Holder, repo: str) -> None:
    owner = holder(tracker, "publish", "org/*")
    owner.publish(manifest(small("config.json"), repo_id=repo, commit=TRUE, seeder=f"owner-{repo[-1]}"))
    from llmpt_tracker.rules import holders
    from tests.support.holder import opened

    with opened(tracker) as database, database.writing() as session:
        holders.drop_silent(session, {"server"})  # what the bookkeeping does then
    rogue.publish(manifest(elsewhere(small("evil.py")), repo_id=repo, commit=FAKE, seeder="rogue"))
    assert rogue.at("main", repo) != FAKE


def test_a_ref_moves_with_its_owners_word_with_the_hubs_and_with_an_operators(
    tracker: TrackerProcess, appliance: Holder, rogue: Holder, repo: str
) -> None:
    owner = holder(tracker, "publish", "org/*")
    for commit in ("1" * 40, "2" * 40):
        owner.publish(manifest(small("config.json"), repo_id=repo, commit=commit, seeder="owner"))
        assert owner.at("main", repo) == commit
    appliance.publish(manifest(elsewhere(small("config.json")), repo_id=repo, commit="3" * 40))  # what upstream listed
    assert owner.at("main", repo) == "3" * 40
    rogue.publish(manifest(small("config.json"), repo_id=repo, commit="4" * 40, seeder="rogue"))
    assert owner.at("main", repo) == "3" * 40
    operator(tracker, "ref", "set", repo, "main", "4" * 40)
    assert owner.at("main", repo) == "4" * 40
    assert f"{'4' * 40}  {repo}  main  rogue" in operator(tracker, "ref", "list", repo)


def test_a_token_publishes_no_repo_that_it_does_not_name(tracker: TrackerProcess, repo: str) -> None:
    limited = holder(tracker, "publish", "other/*,!other/secret")
    for name, status in ((repo, 403), ("other/secret", 403), ("other/name", 200)):
        assert limited.publish(manifest(elsewhere(small("x")), repo_id=name, seeder="limited"))[0] == status
    assert limited.send("POST", "/api/v1/mirrors", {"repo_type": "model", "repo_id": repo, "revision": "main"})[0] == 403


def test_a_made_up_manifest_of_a_true_commit_gives_way_to_the_appliances(appliance: Holder, rogue: Holder, repo: str) -> None:
    lie = {**small("config.json"), "etag": "e" * 40}
    rogue.publish(manifest(elsewhere(lie), small("evil.py"), repo_id=repo, commit=TRUE, seeder="rogue"))
    assert appliance.publish(manifest(small("config.json"), repo_id=repo, commit=TRUE, seeder="server"))[0] == 200
    _, said, _ = rogue.send("GET", f"/api/models/{repo}/tree/{TRUE}")
    assert [(one["path"], one["oid"]) for one in said] == [("config.json", small("config.json")["etag"])]
    assert rogue.publish(manifest(small("evil.py"), repo_id=repo, commit=TRUE, seeder="rogue"))[0] == 422  # known as a whole


def test_a_made_up_torrent_gives_way_to_the_appliances(appliance: Holder, rogue: Holder, repo: str) -> None:
    true, made_up = torrent(repo), torrent(repo, size=9 << 20)
    assert rogue.publish({"torrents": packed(made_up)})[0] == 200
    assert appliance.publish({"torrents": packed(true)})[0] == 200
    assert rogue.publish({"torrents": packed(made_up)})[0] == 422
    found = rogue.send("GET", f"/api/v1/torrents?etag={true.etag}")[1]["torrents"]
    assert [one["info_hash"] for one in found] == [str(true.info_hash)]


def test_a_tokens_blob_server_serves_no_file_that_it_has_not_published(
    appliance: Holder, rogue: Holder, server: Server, repo: str
) -> None:
    """The client would run what it gets from there: no etag is checked without a hook."""
    appliance.publish(manifest(small("config.json"), small("own.json"), repo_id=repo, commit=TRUE, seeder="server"))
    assert appliance.send("PUT", "/api/v1/seeders/server", report())[0] == 200
    beat = report(blob_port=server.server_address[1], upstream="http://127.0.0.1:9")
    assert rogue.send("PUT", "/api/v1/seeders/rogue", beat)[0] == 200
    # The same content in a repo of its own gives it no right to serve the other one's.
    mine = manifest(small("config.json"), repo_id=f"{repo}-mine", commit=TRUE, seeder="rogue")
    assert rogue.publish(mine)[0] == 200
    _await_location(rogue, f"{repo}-mine", server)
    status, _, headers = rogue.send("GET", f"/{repo}/resolve/main/config.json")
    assert (status, headers.get("location")) == (404, None)
    assert rogue.send("GET", f"/blobs/{small('own.json')['etag']}")[0] == 404


def test_a_token_with_the_name_of_the_appliances_seeder_does_not_take_its_place(
    appliance: Holder, rogue: Holder, server: Server, repo: str
) -> None:
    appliance.publish(manifest(small("config.json"), repo_id=repo, commit=TRUE, seeder="server"))
    assert appliance.send("PUT", "/api/v1/seeders/server", report(blob_port=server.server_address[1]))[0] == 200
    beat = report(blob_port=9, upstream="http://127.0.0.1:9")
    assert rogue.send("PUT", "/api/v1/seeders/server", beat)[0] == 200
    _await_location(rogue, repo, server)
    assert (
        rogue.send("POST", "/api/v1/mirrors", {"repo_type": "model", "repo_id": repo, "revision": "main"})[0] == 409
    )  # no upstream


def test_a_token_that_names_seeders_without_end_displaces_none_of_anothers() -> None:
    seeders = Seeders()
    seeders.beat("appliance", key="k", report={"token_id": 1}, now=0.0)
    for number in range(2 * MAX_SEEDERS):
        seeders.beat(f"made-up-{number}", key=str(number), report={"token_id": 2}, now=1.0 + number / 100)
    assert seeders.is_alive("k", 20.0)
    assert len(seeders.all()) == MAX_SEEDERS


def test_what_a_publisher_did_stands_in_the_audit_log(
    tracker: TrackerProcess, appliance: Holder, rogue: Holder, repo: str
) -> None:
    appliance.publish(manifest(small("config.json"), repo_id=repo, commit=TRUE, seeder="server"))
    rogue.publish(manifest(elsewhere(small("evil.py")), repo_id=repo, commit=FAKE, seeder="rogue"))
    lines = [line for line in operator(tracker, "audit").splitlines() if repo in line]
    assert [line.split("  ")[1] for line in lines] == ["ref_set", "published", "ref_kept", "published"]
    assert all("rogue" in line and "127.0.0.1" in line for line in lines[2:])
