"""The hook's rules, against a small library with the shape of huggingface_hub's and an agent's link that does as told."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import types
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from llmpt.core.blob import Etag
from llmpt.core.repo import RepoPath
from llmpt.hook import call, patch
from llmpt.hook.call import Call
from llmpt.hook.lan import Lan
from llmpt.hook.summary import Summary
from llmpt.link.answers import Done, Failed, Progress, Refused
from llmpt.link.client import FetchResult
from llmpt.link.requests import FetchBegun, FetchRequest, Landed
from llmpt.settings import ClientSettings
from llmpt.tracker.blobs import BlobHttp

ETAG = "a" * 64
SIZE = 2 << 20

# Functions call each other by global name, as the library's do.
LIBRARY = """
import logging
from pathlib import Path

ENDPOINT = "https://hub.example"
DOWNLOAD_CHUNK_SIZE = 10 * 1024 * 1024
logger = logging.getLogger("huggingface_hub.file_download")
metadata = ("http://hub/f", ETAG, "c" * 40, SIZE, None, None)
asked, fetched, answer = [], [], None

class tqdm:
    def __init__(self, **looks): pass
    def __enter__(self): return self
    def __exit__(self, *_): pass
    def update(self, n): pass

def _get_metadata_or_catch_error(*, repo_id, filename, repo_type, revision, headers=None, endpoint=None):
    if headers is not None:
        headers.pop("authorization", None)  # as the library does when the file lies elsewhere
    return metadata

def _download_to_tmp_and_move(
    incomplete_path, destination_path, url_to_download, headers, expected_size, filename, force_download, etag
):
    if destination_path.exists() and not force_download:
        return
    fetched.append(sorted(path.name for path in incomplete_path.parent.iterdir()))
    if answer is not None:
        raise answer
    destination_path.write_bytes(b"from the hub")

def _chmod_and_move(src, dst):
    src.replace(dst)

def _hf_hub_download_to_cache_dir(
    *, cache_dir, repo_id, repo_type, revision, filename, force_download=False, headers=None, endpoint=None
):
    url, etag, commit, size, *_, error = _get_metadata_or_catch_error(
        repo_id=repo_id, filename=filename, repo_type=repo_type, revision=revision, headers=headers, endpoint=endpoint
    )
    blob = Path(cache_dir) / etag
    _download_to_tmp_and_move(
        incomplete_path=Path(str(blob) + ".incomplete"), destination_path=blob, url_to_download=url, headers={},
        expected_size=size, filename=filename, force_download=force_download, etag=etag,
    )
    return str(blob)

def _hf_hub_download_to_local_dir(*, cache_dir, repo_id, repo_type, revision, filename, force_download=False):
    path = _hf_hub_download_to_cache_dir(cache_dir=cache_dir, repo_id=repo_id, repo_type=repo_type, revision=revision,
                                         filename=filename, force_download=force_download)
    return path or (_get_metadata_or_catch_error, _download_to_tmp_and_move)
"""


class Agent:
    """Stands in for `AgentClient`, as told."""

    def __init__(self) -> None:
        self.fetches: list[FetchRequest] = []
        self.told: list[tuple[Etag, Path, str]] = []
        self.fetched: list[tuple[Etag, Path, list[Path]]] = []
        self.watching: list[Path] = []
        self.watches = True
        self.min_blob_bytes = 1 << 20
        self.answer: Callable[[FetchRequest, Callable[[Progress], None]], FetchResult] = self.serve

    def fetch(self, request: FetchRequest, *, on_progress: Callable[[Progress], None]) -> FetchResult:
        self.fetches.append(request)
        return self.answer(request, on_progress)

    def fetching(self, message: FetchBegun, *, until: ExitStack) -> bool:
        self.watching.append(message.stem)
        until.callback(self.watching.remove, message.stem)
        return self.watches

    def landed(self, message: Landed) -> None:
        self.told.append((message.etag, message.path, message.tracker))
        if message.fetched:
            self.fetched.append((message.etag, message.path, list(self.watching)))

    def serve(self, request: FetchRequest, on_progress: Callable[[Progress], None]) -> FetchResult:
        os.truncate(request.path, request.size)
        request.path.replace(request.destination)
        return Done(moved=True, bytes_from_lan=request.size, peers=1)

    def refuse(self, request: FetchRequest, on_progress: Callable[[Progress], None]) -> FetchResult:
        return Refused("nobody has it")

    def break_off(self, request: FetchRequest, on_progress: Callable[[Progress], None]) -> FetchResult:
        request.path.write_bytes(b"some")
        on_progress(Progress(4, 1, 1))
        return Failed("gone")


@pytest.fixture
def agent() -> Agent:
    return Agent()


def install(library: Any, agent: Any, **settings: str) -> None:
    """Put the hook in place for `library`, with `agent` in the place of the machine's."""

    def connect(settings: ClientSettings) -> Lan:
        return Lan(str(settings.tracker), agent, BlobHttp(str(settings.tracker), stall_timeout_s=1))

    assert patch.install(library, settings=ClientSettings.read(settings), connect=connect)


@pytest.fixture
def library() -> Iterator[Any]:
    module = types.ModuleType("file_download")
    vars(module).update(ETAG=ETAG, SIZE=SIZE)
    exec(compile(LIBRARY, "file_download", "exec"), vars(module))
    patch.disable()
    yield module
    patch.disable()


@pytest.fixture
def download(library: Any, agent: Agent, tmp_path: Path) -> Callable[..., Path]:
    install(library, agent, LLMPT_TRACKER="http://server:8000", XDG_CONFIG_HOME=str(tmp_path), LLMPT_QUIET="1")
    (tmp_path / "blobs").mkdir()

    def download(**more: Any) -> Path:
        return Path(
            library._hf_hub_download_to_cache_dir(
                cache_dir=tmp_path / "blobs", repo_id="org/m", repo_type="model", revision="main", filename="w.bin", **more
            )
        )

    return download


Download = Callable[..., Path]


def test_a_file_of_the_lan_is_not_fetched(download: Download, library: Any, agent: Agent) -> None:
    path = download()
    assert path.stat().st_size == SIZE
    assert [(asked.etag, asked.revision, asked.filename) for asked in agent.fetches] == [(Etag(ETAG), "main", RepoPath("w.bin"))]
    assert not library.fetched
    assert not agent.told, "the agent put it there itself"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    ("etag", "size"),
    [(ETAG, 0), (ETAG, None), (ETAG, (1 << 20) - 1), ("A" * 64, SIZE), ("W/abc", SIZE), ("a" * 32, SIZE), ("../x", SIZE)],
)
def test_the_agent_is_not_asked_for_what_has_no_swarm(
    download: Download, library: Any, agent: Agent, etag: str, size: int | None
) -> None:
    library.metadata = ("http://hub/f", etag.replace("/", "_"), "c" * 40, size, None, None)
    download()
    assert not agent.fetches
    assert len(library.fetched) == 1


def test_a_file_whose_size_or_etag_is_told_in_two_ways_is_left_to_the_library(
    download: Download, library: Any, agent: Agent, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for expected_size, etag in [(SIZE + 1, ETAG), (SIZE, "b" * 64)]:
        token = call.current.set(Call("model", "org/m", "main", "w.bin", etag=Etag(ETAG), size=SIZE))
        library._download_to_tmp_and_move(
            tmp_path / "x.incomplete", tmp_path / "x", "url", {}, expected_size, "w.bin", True, etag=etag
        )
        call.current.reset(token)
    assert not agent.fetches
    assert len(library.fetched) == 2


def test_a_call_that_the_hook_does_not_understand_is_the_librarys(download: Download, library: Any, agent: Agent) -> None:
    with pytest.raises(TypeError):
        library._download_to_tmp_and_move("too few")
    assert not agent.fetches


def test_what_is_refused_leaves_nothing_for_the_library_to_find(download: Download, library: Any, agent: Agent) -> None:
    agent.answer = agent.refuse
    assert download().read_bytes() == b"from the hub"
    assert library.fetched == [[]]


def for_all(request: FetchRequest, on_progress: Callable[[Progress], None]) -> FetchResult:
    on_progress(Progress(request.size // 4, 1, 0, waiting=True))
    return Refused("this machine fetches it for all", fetch=True)


def test_what_is_fetched_for_all_is_watched_from_before_the_library_begins_until_the_agent_knows_where_it_lies(
    download: Download, library: Any, agent: Agent
) -> None:
    agent.answer, seen = for_all, []
    library.fetched = Noting(lambda: seen.append(list(agent.watching)))
    path = download()
    (request,) = agent.fetches
    assert request.stem == path
    assert seen == [[path]]
    assert agent.fetched == [(Etag(ETAG), path, [path])]
    assert agent.watching == []


def test_a_fetch_for_all_that_fails_ends_the_watch_and_is_not_reported(download: Download, library: Any, agent: Agent) -> None:
    agent.answer, library.answer = for_all, OSError("429, too many requests")
    with pytest.raises(OSError, match="429"):
        download()
    assert agent.watching == []
    assert agent.fetched == []


def test_a_fetch_that_the_agent_does_not_watch_is_an_ordinary_one(download: Download, library: Any, agent: Agent) -> None:
    agent.answer, agent.watches = for_all, False
    assert download().read_bytes() == b"from the hub"
    assert agent.told == []


def test_waiting_shows_a_bar_and_is_no_transfer_that_broke_off(
    download: Download, agent: Agent, caplog: pytest.LogCaptureFixture
) -> None:
    agent.answer = for_all
    download()
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize(
    ("headers", "anonymous"), [({}, True), ({"user-agent": "x"}, True), ({"authorization": "Bearer hf_x"}, False), (None, False)]
)
def test_the_agent_is_told_whether_the_hub_was_shown_a_token_and_which_hub_it_was(
    download: Download,
    agent: Agent,
    headers: dict[str, str] | None,
    anonymous: bool,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("NETRC", raising=False)
    download(headers=headers and dict(headers)).unlink()
    download(headers=headers, endpoint="http://mirror:8000")
    assert [request.anonymous for request in agent.fetches] == [anonymous, anonymous]
    assert [request.endpoint for request in agent.fetches] == ["https://hub.example", "http://mirror:8000"]


@pytest.mark.parametrize(("least", "is_asked"), [(SIZE, True), (SIZE + 1, False)])
def test_the_size_from_which_on_files_have_a_swarm_is_the_trackers(
    download: Download, agent: Agent, least: int, is_asked: bool
) -> None:
    agent.min_blob_bytes = least
    download()
    assert bool(agent.fetches) is is_asked


def test_the_librarys_step_is_small_while_the_hook_is_in_place(download: Download, library: Any) -> None:
    before = 10 * 1024 * 1024
    assert before > library.DOWNLOAD_CHUNK_SIZE
    patch.disable()
    assert before == library.DOWNLOAD_CHUNK_SIZE


class Noting(list[Any]):
    """A list that calls back when it grows."""

    def __init__(self, then: Callable[[], None]) -> None:
        super().__init__()
        self._then = then

    def append(self, item: Any) -> None:
        super().append(item)
        self._then()


def test_the_agent_is_told_how_fast_the_ordinary_path_has_been(download: Download, library: Any, agent: Agent) -> None:
    agent.answer = agent.refuse
    download().unlink()
    download()
    assert agent.fetches[0].ordinary_rate_bytes_s == 0
    assert agent.fetches[1].ordinary_rate_bytes_s > 0


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
        assert len(agent.fetches) == 1
        assert held.read() == b"some"
    assert agent.fetches[0].path.exists()


def test_without_locks_nothing_is_risked_and_nothing_left(
    download: Download, library: Any, agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    assert download().read_bytes() == b"from the hub"
    assert library.fetched == [[]]
    assert not agent.fetches


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
    assert len(agent.fetches) == 1
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


def serve_in_place(request: FetchRequest, on_progress: Callable[[Progress], None]) -> FetchResult:
    os.truncate(request.path, request.size)
    return Done(moved=False, peers=1)


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


@pytest.mark.parametrize("lie", ["moved", "whole"])
def test_an_agent_that_lies_is_not_believed(download: Download, library: Any, agent: Agent, lie: str) -> None:
    def answer(request: FetchRequest, on_progress: Callable[[Progress], None]) -> FetchResult:
        if lie == "moved":
            os.truncate(request.path, request.size)
        return Done(moved=lie == "moved", peers=1)

    agent.answer = answer
    path = download()
    assert path.read_bytes() == b"from the hub"
    assert list(path.parent.iterdir()) == [path]
    assert not agent.told


@pytest.mark.parametrize("where", ["fetch", "report", "count"])
def test_our_own_bugs_are_logged_and_hurt_nobody(
    download: Download, library: Any, agent: Agent, where: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bug(*args: Any, **kwargs: Any) -> Any:
        raise ZeroDivisionError("ours")

    agent.answer = bug if where == "fetch" else (lambda *_: Refused("no"))
    monkeypatch.setattr(agent, "landed", bug)
    if where == "report":
        agent.answer = serve_in_place
    if where == "count":
        monkeypatch.setattr(Summary, "from_hub", bug)
    assert download().exists()
    assert "this is a bug of llmpt" in caplog.text


def test_each_decision_is_one_line(download: Download, library: Any, agent: Agent, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="llmpt")
    agent.answer = agent.refuse
    download(force_download=True)
    agent.answer = agent.break_off
    download(force_download=True)
    agent.answer = agent.serve
    download(force_download=False).unlink()
    download()
    said = [(record.levelname, record.getMessage()) for record in caplog.records if record.name == "llmpt"]
    assert said == [
        ("DEBUG", "w.bin: not from the LAN (nobody has it)"),
        ("WARNING", "llmpt: w.bin: the LAN broke off (gone); fetching it the ordinary way"),
        ("INFO", "w.bin: 2097152 bytes from the LAN"),
    ]


def test_a_new_tracker_holds_from_the_next_file_on(download: Download, library: Any, agent: Agent, tmp_path: Path) -> None:
    download().unlink()
    install(library, agent, LLMPT_TRACKER="http://other:8000", XDG_CONFIG_HOME=str(tmp_path))
    download()
    assert [asked.tracker for asked in agent.fetches] == ["http://server:8000", "http://other:8000"]


def test_what_another_wrapped_stays_wrapped_and_passes_through(download: Download, library: Any, agent: Agent) -> None:
    ours = library._download_to_tmp_and_move

    def theirs(*args: Any, **kwargs: Any) -> Any:
        return ours(*args, **kwargs)

    library._download_to_tmp_and_move = theirs
    patch.disable()
    assert library._download_to_tmp_and_move is theirs
    assert download().read_bytes() == b"from the hub"
    assert not agent.fetches
