"""What lies on a network's file system, and where the agent's state lies."""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path

import pytest

from llmpt.agent.host import places
from llmpt.agent.host.purge import purge
from llmpt.core.errors import AgentUnavailable
from llmpt.disk.inventory import Inventory
from llmpt.host.mounts import Mounts
from llmpt.link import lock, state

TABLE = r"""
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw
30 27 0:30 / /home rw,relatime shared:5 - nfs4 fileserver:/export/home rw,vers=4.2
31 30 0:31 / /home/ann/local rw - xfs /dev/sdb1 rw
32 27 0:32 / /with\040blank rw master:1 propagate_from:2 - cifs //server/share\040one rw
33 27 0:33 / /scratch rw - lustre 10.0.0.1@tcp:/fs rw
34 27 0:34 / /far rw - fuse.sshfs ann@host:/data rw
35 27 0:35 / /unheard/of rw - newfs storage.example:/pool rw
36 27 0:36 / /merged rw - fuse.mergerfs a:b rw
37 27 0:37 / /hidden rw - nfs old:/x rw
38 27 0:38 / /hidden rw - tmpfs tmpfs rw
a line that means nothing
"""


@pytest.fixture
def mounts(tmp_path: Path) -> Mounts:
    (tmp_path / "mountinfo").write_text(TABLE)
    return Mounts.read(tmp_path / "mountinfo")


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", None), ("/var/tmp/x", None), ("/home", "nfs4"), ("/home/ann/.cache/hf", "nfs4"), ("/home/ann/local/hf", None),
        ("/homes/ann", None), ("/with blank/x", "cifs"), ("/scratch/ann/hub", "lustre"), ("/far/x", "fuse.sshfs"),
        ("/unheard/of/x", "newfs"), ("/merged/x", None), ("/hidden/x", None),
    ],
)  # fmt: skip
def test_a_path_is_judged_by_the_innermost_mount(mounts: Mounts, path: str, kind: str | None) -> None:
    assert mounts.network_kind(Path(path)) == kind


def test_a_link_into_a_network_is_followed(mounts: Mounts, tmp_path: Path) -> None:
    (tmp_path / "hub").symlink_to("/scratch/ann/hub")
    assert mounts.network_kind(tmp_path / "hub" / "blob") == "lustre"


def test_a_system_without_a_table_has_local_files_only(tmp_path: Path) -> None:
    assert Mounts.read(tmp_path / "nothing").network_kind(Path("/home/ann")) is None


def test_this_machines_own_table_can_be_read(tmp_path: Path) -> None:
    if Path("/proc/self/mountinfo").exists():
        assert Mounts.read().of(tmp_path) is not None


def mounted(tmp_path: Path, line: str) -> Mounts:
    (tmp_path / "mountinfo").write_text(line)
    return Mounts.read(tmp_path / "mountinfo")


@pytest.fixture
def fallback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "home" / "state"))
    monkeypatch.setattr(state, "FALLBACK", tmp_path / "var-tmp")
    (tmp_path / "var-tmp").mkdir()
    return tmp_path / "var-tmp" / f"llmpt-{os.getuid()}"


def test_state_is_the_hosts_own(fallback: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for name in ("node1.cluster", "node2/../evil"):
        monkeypatch.setattr(socket, "gethostname", lambda name=name: name)
        found.append(places.state_dir())
    assert found == [tmp_path / "home" / "state" / "llmpt" / name for name in ("node1.cluster", "node2_.._evil")]
    assert places.database_path() == found[1] / "agent.db"
    assert not fallback.exists()


def test_state_never_lies_on_a_networks_home(fallback: Path, tmp_path: Path) -> None:
    mounts = mounted(tmp_path, f"27 1 0:1 / / rw - ext4 /dev/vda rw\n30 27 0:30 / {tmp_path}/home rw - nfs4 server:/home rw\n")
    assert places.state_dir(mounts) == fallback
    assert fallback.stat().st_mode & 0o777 == 0o700
    assert not (tmp_path / "home").exists()


def test_a_home_that_cannot_be_written_gives_way(fallback: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/proc/nowhere")
    assert places.state_dir() == fallback


def test_a_user_without_a_home_gives_way(fallback: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name)
    monkeypatch.setattr("pwd.getpwuid", {}.__getitem__)  # KeyError: a uid that nobody knows
    assert places.state_dir() == fallback


def test_somebody_elses_folder_in_its_place_is_refused(fallback: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/proc/nowhere")
    fallback.symlink_to(tmp_path)
    assert places.state_dir() == fallback.with_name(f"{fallback.name}.1")
    monkeypatch.setattr(state, "TRIES", 1)
    with pytest.raises(AgentUnavailable, match="not a folder of this user"):
        places.state_dir()


def test_purging_removes_state_socket_folder_and_what_was_left_unfinished(fallback: Path, tmp_path: Path) -> None:
    environ = {"XDG_RUNTIME_DIR": str(tmp_path / "run")}
    blob, partial = tmp_path / "blob", tmp_path / "blob.incomplete"
    with Inventory(places.database_path()) as inventory:
        for path in (blob, partial):
            path.write_bytes(b"content")
            inventory.remember_partial(path, path.stat().st_ino, 1.0)
        inventory.forget_partial(blob)
    removed = purge(environ)
    assert removed == [
        partial,
        tmp_path / "home" / "state" / "llmpt" / places.database_path().parent.name,
        tmp_path / "run" / "llmpt",
    ]
    assert blob.exists()
    assert not partial.exists()
    assert not (tmp_path / "run" / "llmpt").exists()
    assert not list((tmp_path / "home").rglob("agent.db*"))


def test_a_database_that_cannot_be_read_is_purged_like_any_other(fallback: Path, tmp_path: Path) -> None:
    places.database_path().write_bytes(b"not a database" * 100)
    purge({"XDG_RUNTIME_DIR": str(tmp_path / "run")})
    assert not list((tmp_path / "home").rglob("agent.db*"))


def test_nothing_is_purged_under_an_agent_that_runs(fallback: Path, tmp_path: Path) -> None:
    environ = {"XDG_RUNTIME_DIR": str(tmp_path / "run")}
    places.database_path().touch()
    with lock.held(environ), pytest.raises(AgentUnavailable, match="runs already"):
        purge(environ, ending_s=0.05)
    assert places.database_path().exists()
    assert not lock.is_held(environ)


def test_a_container_under_another_name_finds_the_state_of_the_last_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    local = Mounts(())
    monkeypatch.setattr(socket, "gethostname", lambda: "0123456789ab")
    before = places.state_dir(local)
    with places.in_use(before):
        (before / "agent.db").touch()
        monkeypatch.setattr(socket, "gethostname", lambda: "beside")
        assert not (places.state_dir(local) / "agent.db").exists(), "it is another container's, which runs"
    monkeypatch.setattr(socket, "gethostname", lambda: "ba9876543210")
    after = places.state_dir(local)
    assert (after / "agent.db").exists()
    assert not before.exists()
    assert after.name == "ba9876543210"


def test_agents_of_all_sessions_begin_one_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    began, let_go = threading.Event(), threading.Event()

    def first() -> None:
        with places.starting(tmp_path):
            began.set()
            let_go.wait(10)

    thread = threading.Thread(target=first)
    thread.start()
    assert began.wait(10)
    threading.Timer(0.1, let_go.set).start()
    with places.starting(tmp_path):
        assert let_go.is_set()
        monkeypatch.setattr(places, "STARTING_S", 0.05)
        with places.starting(tmp_path):
            pass  # one that comes to no end is not waited for
    thread.join(timeout=10)
    with places.starting(tmp_path / "no such folder"):
        pass
