"""What becomes of the temporary file: it is kept, continued, cut, left alone, moved."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmpt.core.blob import Etag
from llmpt.hook import patch
from llmpt.link.answers import Failed, Progress
from llmpt.link.client import FetchResult
from llmpt.link.requests import FetchRequest
from tests.unit.client.hook.patch.world import ETAG, SIZE, Agent, Download, install, serve_in_place


def test_what_arrived_stays_until_the_library_has_the_file(download: Download, library: Any, agent: Agent) -> None:
    agent.answer = agent.break_off
    library.answer = OSError("the Hub is down, too")
    with pytest.raises(OSError, match="the Hub is down"):
        download()
    (left,) = library.fetched[0]
    assert left == agent.fetches[0].path.name
    library.answer = None
    path = download()
    assert agent.fetches[0].path == agent.fetches[1].path
    assert list(path.parent.iterdir()) == [path]


def test_what_arrived_goes_where_there_is_no_room_for_a_second_copy(download: Download, library: Any, agent: Agent) -> None:
    library.metadata = ("http://hub/f", ETAG, "c" * 40, 1 << 59, None, None)  # more than any disk has
    room: list[int] = []

    def break_off(request: FetchRequest, on_progress: Callable[[Progress], None]) -> FetchResult:
        room.append(os.open(request.path, os.O_RDONLY))
        return agent.break_off(request, on_progress)

    agent.answer = break_off
    download()
    assert library.fetched == [[]]
    assert os.fstat(room[0]).st_size == 0  # an open file gives its room back when it is cut
    os.close(room[0])


def test_what_the_server_gave_in_the_hubs_place_is_not_said_to_be_from_the_hub(
    download: Download, library: Any, agent: Agent, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    install(library, agent, LLMPT_TRACKER="http://server:8000", XDG_CONFIG_HOME=str(tmp_path))
    agent.answer = agent.break_off
    download(endpoint="http://server:8000/")
    download(endpoint="https://hub.example", force_download=True)
    patch.disable()
    said = capsys.readouterr().err
    assert said == "llmpt: 2.1 MB from the Hub, 2.1 MB from the server, the LAN broke off in the middle of 2 files\n"


def test_an_interrupted_download_keeps_what_arrived(download: Download, library: Any, agent: Agent) -> None:
    def interrupt(request: FetchRequest, on_progress: Callable[[Progress], None]) -> FetchResult:
        request.path.write_bytes(b"some")
        raise KeyboardInterrupt

    agent.answer = interrupt
    with pytest.raises(KeyboardInterrupt):
        download()
    assert agent.fetches[0].path.read_bytes() == b"some"
    assert not library.fetched
    agent.answer = agent.serve
    assert download().stat().st_size == SIZE


def test_a_temporary_file_in_use_is_left_alone(download: Download, library: Any, agent: Agent) -> None:
    agent.answer = agent.break_off
    library.answer = OSError("down")
    with pytest.raises(OSError, match="down"):
        download()
    library.answer = None
    with agent.fetches[0].path.open("rb+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        download()
        assert len({fetch.path for fetch in agent.fetches}) == 2
        assert held.read() == b"some"
    assert agent.fetches[0].path.exists()


@pytest.mark.parametrize("refusal", [errno.ENOLCK, errno.ENOSYS, None])
def test_where_locks_do_not_hold_each_download_has_a_file_of_its_own_and_nothing_is_left(
    download: Download, agent: Agent, monkeypatch: pytest.MonkeyPatch, refusal: int | None
) -> None:
    def no_locks(descriptor: int, operation: int) -> None:
        if refusal is not None:
            raise OSError(refusal, os.strerror(refusal))

    monkeypatch.setattr(fcntl, "flock", no_locks)
    before = len(list(Path("/dev/fd").iterdir()))
    path = download()
    download(force_download=True)
    assert len({fetch.path for fetch in agent.fetches}) == 2
    assert list(path.parent.iterdir()) == [path]
    assert len(list(Path("/dev/fd").iterdir())) == before


@pytest.mark.parametrize("trap", ["symlink", "folder"])
def test_nothing_is_written_through_what_is_no_file(
    download: Download, library: Any, agent: Agent, tmp_path: Path, trap: str
) -> None:
    agent.answer = agent.refuse
    download(force_download=True)
    name = agent.fetches[0].path
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    if trap == "symlink":
        name.symlink_to(victim)
    else:
        name.mkdir()
    agent.answer = agent.serve
    download(force_download=True)
    assert agent.fetches[1].path != name
    assert victim.read_bytes() == b"precious"


def test_a_leftover_that_is_too_long_is_cut(download: Download, library: Any, agent: Agent) -> None:
    agent.answer = agent.break_off
    library.answer = OSError("down")
    with pytest.raises(OSError, match="down"):
        download()
    os.truncate(agent.fetches[0].path, SIZE + 5)

    def look(request: FetchRequest, on_progress: Callable[[Progress], None]) -> FetchResult:
        assert request.path.stat().st_size == SIZE
        return agent.serve(request, on_progress)

    agent.answer = look
    assert download().stat().st_size == SIZE


def test_the_umask_gives_the_mode(download: Download, library: Any, agent: Agent) -> None:
    before = os.umask(0o027)
    try:
        assert download().stat().st_mode & 0o777 == 0o640
    finally:
        os.umask(before)


def test_an_existing_file_is_replaced_by_the_hook_and_never_by_the_agent(download: Download, library: Any, agent: Agent) -> None:
    path = download()
    agent.answer = serve_in_place
    assert download(force_download=True) == path
    assert agent.fetches[-1].replace
    assert agent.told == [(Etag(ETAG), path, "http://server:8000")]
    assert list(path.parent.iterdir()) == [path]


def test_a_file_that_the_library_moves_on_is_reported_where_it_lies(
    download: Download, library: Any, agent: Agent, tmp_path: Path
) -> None:
    patched = library._download_to_tmp_and_move

    def into_shared_store(*, destination_path: Path, **more: Any) -> None:
        patched(destination_path=destination_path, **more)
        destination_path.rename(tmp_path / "shared")
        destination_path.symlink_to(tmp_path / "shared")

    library._download_to_tmp_and_move = into_shared_store
    assert download().is_symlink()
    assert agent.told == [(Etag(ETAG), tmp_path / "shared", "http://server:8000")]


@pytest.mark.parametrize("act", ["removed", "replaced"])
def test_a_file_that_a_cleaner_took_from_the_agent_is_asked_for_once_more(
    download: Download, library: Any, agent: Agent, act: str
) -> None:
    def lose(request: FetchRequest, on_progress: Callable[[Progress], None]) -> FetchResult:
        request.path.unlink()
        if act == "replaced":
            request.path.write_bytes(b"theirs")
        agent.answer = agent.serve
        return Failed("its file is gone")

    agent.answer = lose
    path = download()
    assert path.stat().st_size == SIZE
    assert not library.fetched
    left = [one.read_bytes() for one in path.parent.iterdir() if one != path]
    assert left == ([b"theirs"] if act == "replaced" else [])


def test_it_is_asked_for_no_third_time(download: Download, library: Any, agent: Agent) -> None:
    def lose(request: FetchRequest, on_progress: Callable[[Progress], None]) -> FetchResult:
        request.path.unlink()
        return Failed("its file is gone")

    agent.answer = lose
    assert download().read_bytes() == b"from the hub"
    assert len(agent.fetches) == 2


def test_done_without_a_result_is_no_result(download: Download, agent: Agent, library: Any) -> None:
    def late(src: Path, dst: Path) -> None:
        src.replace(dst)
        dst.unlink()

    library._chmod_and_move = late
    agent.answer = serve_in_place
    assert download().read_bytes() == b"from the hub", "nothing lay at the destination"
