"""What an operator relies on: nothing but `docker compose up`, an ordinary user, state that stays."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from llmpt.core.settings import declared
from llmpt_seeder.settings import SeederSettings
from llmpt_tracker.settings import TrackerSettings
from tests.e2e.worlds import Model, Server
from tests.support.compose import Compose
from tests.support.containers import Inside
from tests.support.waiting import eventually

# The service is the child of the init that Docker puts before it.
STATUS = "cat /proc/$(cat /run/llmpt/pid)/status"


def test_a_cache_that_is_not_there_is_an_error_that_names_it(docker_engine: Any, images: None, tmp_path: Path) -> None:
    missing = tmp_path / "no-such-cache"
    with Compose(docker_engine, "compose.yaml", HF_HUB_CACHE=str(missing)) as compose:
        with pytest.raises(AssertionError, match=f"bind source path does not exist: {missing}"):
            compose("create", "--no-build", "seeder")
        assert not missing.exists()


@pytest.mark.parametrize(("service", "user"), [("tracker", "65532"), ("seeder", "1000")])
def test_a_service_is_an_ordinary_user_with_no_way_back_to_root(server: Server, service: str, user: str) -> None:
    inside = Inside(server.compose.container(service))
    status = dict(line.split(":\t") for line in inside.run("sh", "-c", STATUS).splitlines() if ":\t" in line)
    assert status["Uid"].split() == [user] * 4
    assert status["Gid"].split() == [user] * 4
    assert status["Groups"].strip() == ""
    assert int(status["CapPrm"], 16) == int(status["CapEff"], 16) == 0
    assert status["NoNewPrivs"] == "1"


@pytest.mark.parametrize("service", ["tracker", "seeder"])
def test_nothing_can_be_written_but_the_volumes_and_what_goes_with_the_container(server: Server, service: str) -> None:
    inside = Inside(server.compose.container(service))
    places = ["/x", "/opt/llmpt/x", "/usr/local/bin/x", *(["/cache/x"] if service == "seeder" else [])]
    for place in places:
        assert "Read-only file system" in inside.run("sh", "-c", f"touch {place} 2>&1 || true")


def test_what_serves_peers_reaches_neither_the_token_nor_the_catalogue(server: Server) -> None:
    seeder = server.compose.container("seeder")
    found = seeder.exec_run(["cat", "/secrets/publish.token"], user="1000")
    assert found.exit_code != 0
    assert b"Permission denied" in found.output
    assert "tracker.db" not in Inside(seeder).run("sh", "-c", "ls -R /data /secrets /mirror")


def test_a_service_that_hangs_is_started_anew(server: Server, dummy: Model) -> None:
    tracker = server.compose.container("tracker")
    tracker.exec_run(["sh", "-c", "kill -STOP -1"])
    ended = tracker.exec_run(["llmpt-health", "llmpt-tracker", "health"], environment={"LLMPT_HEALTH_MISSES": "1"}, user="0")
    assert ended.exit_code != 0

    def is_well_again() -> bool:
        tracker.reload()
        return bool(tracker.attrs["RestartCount"] == 1 and tracker.attrs["State"]["Health"]["Status"] == "healthy")

    eventually(is_well_again, timeout_s=60, what="a new start of the tracker")
    eventually(lambda: server.seeders_of(dummy), timeout_s=30, what="a seeder for the model")


def test_what_an_older_version_kept_in_one_volume_is_found(server: Server, dummy: Model) -> None:
    server.compose("stop", "seeder")
    server.tracker.run("sh", "-c", "cp -p /secrets/publish.token /data/ && mv /seeder/seeder.db* /data/ && chown 1000 /data/*")
    token = server.tracker.run("cat", "/data/publish.token")
    server.tracker.run("rm", "/secrets/publish.token")
    server.compose("down", "--timeout", "30")
    server.compose.up()
    eventually(lambda: server.seeders_of(dummy), timeout_s=30, what="a seeder for the model")
    assert server.tracker.run("cat", "/secrets/publish.token") == token
    assert "hashing" not in server.compose("logs", "seeder")
    assert "seeder.db" not in server.tracker.run("ls", "/data")


def test_a_token_can_be_made_while_the_tracker_runs(server: Server) -> None:
    assert server.tracker.run("llmpt-tracker", "token", "create", "--name", "laptop").startswith("llmpt_pub_")
    assert "laptop" in server.tracker.run("llmpt-tracker", "token", "list")
    assert set(server.tracker.run("sh", "-c", "stat -c %u /data/*").split()) == {"65532"}


def test_no_token_is_in_the_logs(server: Server) -> None:
    assert "llmpt_pub_" not in server.logs()


def test_containers_made_anew_find_their_state_and_read_nothing_again(server: Server, dummy: Model) -> None:
    before = server.tracker.run("cat", "/secrets/publish.token")
    server.compose("down", "--timeout", "30")
    server.compose.up()
    assert server.tracker.run("cat", "/secrets/publish.token") == before
    eventually(lambda: server.seeders_of(dummy), timeout_s=30, what="a seeder for the model")
    assert "hashing" not in server.compose("logs", "seeder")


def test_an_operator_who_names_the_lan_need_not_name_the_containers(
    docker_engine: Any, images: None, hub_cache: Path, dummy: Model
) -> None:
    server = Server(docker_engine, hub_cache, LLMPT_PEER_CIDRS="127.0.0.0/8,192.168.77.0/24")
    with server.compose:
        server.compose.up()
        eventually(lambda: server.seeders_of(dummy), timeout_s=60, what="a seeder for the model")


# What a container is told otherwise: by the image, by a mount, or by the published ports.
FIXED = {"LLMPT_DATA", "LLMPT_DIST", "LLMPT_BIND", "HF_HUB_CACHE", "LLMPT_MIRROR_CACHE", "LLMPT_TOKEN", "LLMPT_DATABASE_URL"}


@pytest.mark.parametrize(("service", "settings"), [("tracker", TrackerSettings), ("seeder", SeederSettings)])
def test_every_setting_of_a_service_is_passed_on(server: Server, service: str, settings: type) -> None:
    passed_on = json.loads(server.compose("config", "--format", "json"))["services"][service]["environment"]
    assert {name for name, _, _ in declared(settings)} - FIXED <= passed_on.keys()
