"""The seeder's settings: the Hub's own precedence for its cache, and errors that name what is wrong."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmpt.core.errors import SettingError
from llmpt_seeder.settings import SeederSettings
from tests.support.namespaces import python_with

ENTRYPOINT = Path(__file__).parents[3] / "compose/entrypoint"


def load(tmp_path: Path, **environ: str) -> SeederSettings:
    return SeederSettings.read({"XDG_CONFIG_HOME": str(tmp_path), **environ})


@pytest.mark.parametrize(
    ("environ", "cache"),
    [
        ({}, Path("~/.cache/huggingface/hub").expanduser()),
        ({"XDG_CACHE_HOME": "/x"}, Path("/x/huggingface/hub")),
        ({"XDG_CACHE_HOME": "/x", "HF_HOME": "/home"}, Path("/home/hub")),
        ({"HF_HOME": "/home", "HUGGINGFACE_HUB_CACHE": "/legacy"}, Path("/legacy")),
        ({"HUGGINGFACE_HUB_CACHE": "/legacy", "HF_HUB_CACHE": "/cache"}, Path("/cache")),
        ({"HF_HUB_CACHE": "~/there"}, Path("~/there").expanduser()),
    ],
)
def test_the_cache_is_found_as_the_hub_library_finds_it(tmp_path: Path, environ: dict[str, str], cache: Path) -> None:
    assert SeederSettings.read({"XDG_CONFIG_HOME": str(tmp_path), **environ}).cache == cache


def test_defaults_suit_a_seeder_beside_its_tracker(tmp_path: Path) -> None:
    settings = SeederSettings.read({"XDG_CONFIG_HOME": str(tmp_path), "LLMPT_DATA": str(tmp_path)})
    assert settings.tracker == "http://127.0.0.1:8000"
    assert (settings.peer_port, settings.min_blob_bytes, settings.scan_interval_s) == (6881, 1 << 20, 10)
    assert settings.token_file == tmp_path / "publish.token"
    assert load(tmp_path, LLMPT_TOKEN_FILE="/run/secrets/token").token_file == Path("/run/secrets/token")
    assert settings.bind == ("0.0.0.0", "::")
    assert settings.repos == ()


def test_what_is_fetched_lies_beside_the_servers_state_unless_a_folder_is_named(tmp_path: Path) -> None:
    assert load(tmp_path, LLMPT_DATA="/state").mirror_cache == Path("/state/mirror")
    assert load(tmp_path, LLMPT_DATA="/state", LLMPT_MIRROR_CACHE="/big").mirror_cache == Path("/big")


@pytest.mark.parametrize("fetched", ["/models/hub", "/models", "/models/hub/fetched", "/models/../models/hub"])
def test_nothing_is_fetched_into_the_cache_that_is_only_read(tmp_path: Path, fetched: str) -> None:
    named = {"HF_HUB_CACHE": "/models/hub", "LLMPT_MIRROR_CACHE": fetched}
    with pytest.raises(SettingError, match="LLMPT_MIRROR_CACHE"):
        load(tmp_path, LLMPT_UPSTREAM="http://hub", **named)
    assert load(tmp_path, **named).upstream is None


def test_nothing_is_fetched_into_it_by_another_name_either(tmp_path: Path) -> None:
    """A container may have one folder of the host at two places."""
    read, fetched = tmp_path / "read", tmp_path / "fetched"
    read.mkdir()
    fetched.mkdir()
    python = python_with(shlex.join(["mount", "--bind", str(read), str(fetched)]), tmp_path / "python")
    environ = {**os.environ, "HF_HUB_CACHE": str(read), "LLMPT_MIRROR_CACHE": str(fetched), "LLMPT_UPSTREAM": "http://hub"}
    run = subprocess.run([python, "-m", "llmpt_seeder", "health"], env=environ, capture_output=True, text=True, timeout=60)
    assert "LLMPT_MIRROR_CACHE" in run.stderr


def test_the_images_do_not_even_take_over_such_a_folder(tmp_path: Path) -> None:
    environ = {**os.environ, "HF_HUB_CACHE": str(tmp_path), "LLMPT_MIRROR_CACHE": f"{tmp_path}/.", "PUID": "4321"}
    command = ["sh", str(ENTRYPOINT), "true"]
    run = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=10)
    assert run.returncode == 1
    assert "one folder" in run.stderr
    assert tmp_path.stat().st_uid == os.getuid()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LLMPT_UPSTREAM", "hub"),
        ("LLMPT_MIRROR_QUOTA", "much"),
        ("LLMPT_TRACKER", "server"),
        ("LLMPT_PEER_PORT", "70000"),
        ("LLMPT_BLOB_PORT", "-1"),
        ("LLMPT_SCAN_INTERVAL", "0"),
        ("LLMPT_PEER_CIDRS", "lan"),
        ("LLMPT_UPLOAD_LIMIT", "-1"),
        ("LLMPT_BIND", "server"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path: Path, name: str, value: str) -> None:
    with pytest.raises(SettingError, match=name):
        load(tmp_path, **{name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LLMPT_REPOS", '"org/*"'),
        ("LLMPT_REPOS", "'org/*,!org/secret'"),
        ("LLMPT_REPOS", 'org/*,"!org/secret"'),
        ("HF_HUB_CACHE", '"/cache"'),
        ("LLMPT_TRACKER", '"http://server:8000"'),
    ],
)
def test_quotes_that_came_along_are_said_to_be_too_much(tmp_path: Path, name: str, value: str) -> None:
    plain = value.replace('"', "").replace("'", "")
    with pytest.raises(SettingError, match=f"^{name}=.*the quotes are part of the value; write ") as said:
        load(tmp_path, **{name: value})
    assert str(said.value).endswith(plain)


@pytest.mark.parametrize("value", ["\u201corg/*\u201d", "org/*;other/name", "org\\name", "org/name:main"])
def test_what_stands_in_no_repos_name_is_no_pattern(tmp_path: Path, value: str) -> None:
    with pytest.raises(SettingError, match="is in no repo's name; write org/"):
        load(tmp_path, LLMPT_REPOS=value)


AS_ANOTHER = ["unshare", "--user", "--map-user=54321", "--map-group=54321"]


@pytest.mark.parametrize("command", [["scan"], ["run"], ["health"], ["serve"]])
def test_a_user_without_a_passwd_entry_is_told_what_to_set(command: list[str]) -> None:
    try:
        subprocess.run([*AS_ANOTHER, "true"], check=True, capture_output=True, timeout=10)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this system lets nobody be another user")
    program = [str(Path(sys.executable).with_name("llmpt"))] if command == ["serve"] else [sys.executable, "-m", "llmpt_seeder"]
    environ = {"PATH": os.environ["PATH"]}
    run = subprocess.run([*AS_ANOTHER, *program, *command], env=environ, capture_output=True, text=True, timeout=60)
    assert run.returncode == 1
    assert "54321 has no entry in passwd, and HOME is not set" in run.stderr
    assert "LLMPT_DATA" in run.stderr or "HF_HUB_CACHE" in run.stderr
    assert "Traceback" not in run.stderr


def entered(tmp_path: Path, data: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """What the entry point does as root where chown is refused."""
    commands = tmp_path / "bin"
    commands.mkdir()
    (commands / "chown").write_text("#!/bin/sh\necho chown: Operation not permitted >&2\nexit 1\n")
    (commands / "chown").chmod(0o755)
    path = f"{commands}:{os.environ['PATH']}"
    named = {"PATH": path, "LLMPT_DATA": str(data), "PUID": "4321", "PGID": "4321", **environ}
    return subprocess.run(["sh", str(ENTRYPOINT), "id", "-u"], env=named, capture_output=True, text=True, timeout=10)


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
@pytest.mark.parametrize("inside", [False, True])
def test_a_volume_that_refuses_chown_and_cannot_be_written_is_said_once(open_tmp_path: Path, inside: bool) -> None:
    data = open_tmp_path / "data"
    data.mkdir()
    if inside:
        data.chmod(0o777)
        (data / "tracker.db").touch(mode=0o600)
    run = entered(open_tmp_path, data)
    assert run.returncode == 1
    assert str(data / "tracker.db" if inside else data) in run.stderr
    assert "refuses chown: set PUID=0 and PGID=0" in run.stderr
    assert len(run.stderr.splitlines()) == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
def test_a_volume_that_refuses_chown_and_can_be_written_is_used(open_tmp_path: Path) -> None:
    data = open_tmp_path / "data"
    data.mkdir()
    data.chmod(0o777)
    run = entered(open_tmp_path, data)
    assert (run.returncode, run.stdout, run.stderr) == (0, "4321\n", "")


@pytest.fixture
def open_tmp_path() -> Iterator[Path]:
    """A folder that other users may enter, too."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)
