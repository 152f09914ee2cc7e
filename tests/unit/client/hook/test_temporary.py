"""The temporary file: whose it is, and when it goes."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llmpt.core.blob import Etag
from llmpt.hook.temporary import Hold, Temporary
from llmpt.host.mounts import Mount, Mounts

SIZE = 1000
ETAG = Etag("a" * 64)


def another(folder: Path, etag: Etag = ETAG, **more: Any) -> Temporary:
    """Return what another process would have for the same blob."""
    return Temporary(folder / "blob.incomplete", etag, SIZE, environ={"XDG_RUNTIME_DIR": str(folder / "run")}, **more)


@pytest.fixture
def temporary(tmp_path: Path) -> Iterator[Temporary]:
    made = another(tmp_path)
    yield made
    made.close()


def test_its_name_is_the_same_for_the_next_try_and_another_for_another_blob(tmp_path: Path) -> None:
    first, again = (another(tmp_path).path for _ in range(2))
    assert first == again
    assert first.parent == tmp_path
    assert first != another(tmp_path, Etag("b" * 64)).path


def test_what_this_try_has_made_is_fresh_and_what_an_earlier_one_left_is_found(temporary: Temporary, tmp_path: Path) -> None:
    assert temporary.open()
    assert temporary.hold is Hold.FRESH
    temporary.close()
    again = another(tmp_path)
    assert again.open()
    assert again.hold is Hold.FOUND
    again.close()


@pytest.mark.parametrize("found", [False, True])
def test_what_is_ours_can_be_removed_and_takes_no_room_any_more(temporary: Temporary, found: bool) -> None:
    if found:
        temporary.path.write_bytes(b"x" * SIZE)
    assert temporary.open()
    temporary.remove()
    assert not temporary.path.exists()
    assert temporary.descriptor is not None
    assert os.fstat(temporary.descriptor).st_size == 0


def test_what_an_agent_may_still_give_to_others_stays_as_it_is(temporary: Temporary) -> None:
    temporary.path.write_bytes(b"x" * SIZE)
    assert temporary.open()
    temporary.lend()
    temporary.remove()
    assert temporary.path.read_bytes() == b"x" * SIZE


def test_what_another_download_uses_is_not_ours_to_remove(temporary: Temporary) -> None:
    temporary.path.write_bytes(b"some")
    with temporary.path.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        theirs = temporary.path
        assert temporary.open()
        assert temporary.path != theirs
        temporary.remove()
    assert [path for path in theirs.parent.iterdir() if path.suffix == ".incomplete"] == [theirs]
    assert theirs.read_bytes() == b"some"


def test_what_took_its_name_meanwhile_is_left_alone(temporary: Temporary) -> None:
    assert temporary.open()
    temporary.path.unlink()
    temporary.path.write_bytes(b"another's")
    temporary.remove()
    assert temporary.path.read_bytes() == b"another's"
    assert not temporary.is_at(temporary.path)


def test_it_is_whole_only_where_it_lies_and_with_all_its_bytes(temporary: Temporary, tmp_path: Path) -> None:
    assert not temporary.is_whole_at(temporary.path)
    assert temporary.open()
    assert not temporary.is_whole_at(temporary.path)
    os.truncate(temporary.path, SIZE)
    assert temporary.is_whole_at(temporary.path)
    temporary.path.rename(tmp_path / "final")
    assert not temporary.is_whole_at(temporary.path)
    assert temporary.is_whole_at(tmp_path / "final")


def test_a_closed_one_can_be_had_by_the_next(temporary: Temporary, tmp_path: Path) -> None:
    assert temporary.open()
    first = temporary.path
    temporary.close()
    temporary.close()
    second = another(tmp_path)
    assert second.open()
    assert second.path == first
    second.close()


def test_where_nothing_can_be_written_there_is_none(tmp_path: Path) -> None:
    none = another(tmp_path / "no such folder")
    assert not none.open()
    assert none.hold is Hold.NOTHING
    assert not none.leaves_no_room()
    none.remove()
    none.close()


@pytest.fixture(params=[errno.ENOSYS, errno.ENOLCK, 0], ids=["not there", "refused", "granted to all"])
def lockless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Let locks say nothing but in the agent's folder."""
    flock = fcntl.flock

    def shim(descriptor: int, operation: int) -> None:
        if Path(f"/proc/self/fd/{descriptor}").readlink().is_relative_to(tmp_path / "run"):
            flock(descriptor, operation)
        elif request.param:
            raise OSError(request.param, os.strerror(request.param))

    monkeypatch.setattr(fcntl, "flock", shim)


@pytest.mark.usefixtures("lockless")
def test_where_locks_say_nothing_two_processes_have_two_files(temporary: Temporary, tmp_path: Path) -> None:
    assert temporary.open()
    second = another(tmp_path)
    assert second.open()
    assert (temporary.hold, second.hold) == (Hold.FRESH, Hold.FRESH)
    assert temporary.path != second.path
    second.remove()
    second.close()
    assert temporary.is_at(temporary.path)
    assert len(list(tmp_path.glob("*.incomplete"))) == 1


@pytest.mark.usefixtures("lockless")
def test_where_locks_say_nothing_a_file_under_the_common_name_is_left_as_it_is(temporary: Temporary) -> None:
    theirs = temporary.path
    theirs.write_bytes(b"x" * 2 * SIZE)
    assert temporary.open()
    temporary.remove()
    temporary.close()
    assert theirs.read_bytes() == b"x" * 2 * SIZE


@pytest.mark.usefixtures("lockless")
def test_where_locks_say_nothing_the_next_try_of_the_same_machine_goes_on(temporary: Temporary, tmp_path: Path) -> None:
    assert temporary.open()
    first = temporary.path
    temporary.close()
    again = another(tmp_path)
    assert again.open()
    assert (again.path, again.hold) == (first, Hold.FOUND)
    again.close()
    assert not list((tmp_path / "run").rglob("*.lock"))


@pytest.mark.usefixtures("lockless")
def test_and_no_other_machine_does(temporary: Temporary, tmp_path: Path) -> None:
    assert temporary.open()
    first = temporary.path
    temporary.close()
    (tmp_path / "boot_id").write_text("another machine's\n")
    other = another(tmp_path, boot_id=tmp_path / "boot_id")
    assert other.open()
    assert (other.path == first, other.hold) == (False, Hold.FRESH)
    other.close()


@pytest.mark.usefixtures("lockless")
def test_without_any_place_for_a_lock_each_try_has_a_file_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "run").touch()
    (tmp_path / "file").touch()
    tries = [
        Temporary(tmp_path / "blob.incomplete", ETAG, SIZE, environ={"XDG_RUNTIME_DIR": str(tmp_path / "run")}) for _ in "ab"
    ]
    assert all(one.open() for one in tries)
    assert len({one.path for one in tries}) == 2
    for one in tries:
        one.close()


def test_on_a_networks_file_system_the_name_is_that_of_one_machine(tmp_path: Path) -> None:
    mounts = Mounts((Mount(tmp_path, "nfs4", "server:/home"),))
    (tmp_path / "boot_id").write_text("another machine's\n")
    ours, theirs = (
        another(tmp_path, mounts=lambda: mounts),
        another(tmp_path, mounts=lambda: mounts, boot_id=tmp_path / "boot_id"),
    )
    assert ours.open()
    assert theirs.open()
    assert (ours.hold, theirs.hold) == (Hold.FRESH, Hold.FRESH)
    for one in (ours, theirs):
        one.close()


def test_the_mounts_are_read_once_for_all_the_files_of_a_folder(tmp_path: Path) -> None:
    read = []

    def mounts() -> Mounts:
        read.append(1)
        return Mounts(())

    for number in range(5):
        one = another(tmp_path, Etag(f"{number:064}"), mounts=mounts)
        assert one.open()
        one.close()
    assert len(read) == 1


def test_what_was_removed_under_our_hands_gets_another_name(temporary: Temporary, tmp_path: Path) -> None:
    assert temporary.open()
    temporary.path.write_bytes(b"x" * SIZE)
    temporary.path.unlink()
    temporary.path.write_bytes(b"another's")
    theirs = temporary.path
    temporary.make_anew()
    assert temporary.is_whole_at(temporary.path)
    assert temporary.path.read_bytes() == b"x" * SIZE
    assert theirs.read_bytes() == b"another's"


def test_a_file_with_a_second_name_is_not_written_to(temporary: Temporary, tmp_path: Path) -> None:
    (tmp_path / "backup").write_bytes(b"precious")
    os.link(tmp_path / "backup", temporary.path)
    theirs = temporary.path
    assert temporary.open()
    assert temporary.path != theirs


def test_no_descriptor_is_left_open_however_it_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_descriptor: int, _operation: int) -> None:
        raise OSError(errno.ENOLCK, "no locks available")

    before = list(Path("/dev/fd").iterdir())
    monkeypatch.setattr(fcntl, "flock", refused)
    for number in range(20):
        one = another(tmp_path, Etag(f"{number:064}"))
        assert one.open()
        one.remove()
        one.close()
    assert len(list(Path("/dev/fd").iterdir())) == len(before)
