"""The messages of the agent's socket: what stands on the wire, pinned, since programs of other versions read it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from llmpt.agent.server import MAX_WORKING, SocketTimings
from llmpt.core.blob import Etag
from llmpt.core.errors import InvalidInput
from llmpt.core.files import FileId
from llmpt.core.repo import Commit, RepoCommit, RepoPath, RepoRef
from llmpt.link import answers, fields, protocol, requests
from llmpt.link.answers import Answer, Done, Ending, Failed, Greeting, Ok, Progress, Refused, Retiring, StatusReport, Stopping
from llmpt.link.requests import FetchBegun, FetchRequest, Hello, Landed, Request, Retire, Seed, Status, Stop, Unseed
from llmpt.link.timings import LinkTimings

ETAG = "a" * 64
PAGE = Path(__file__).parents[4] / "docs" / "protocols" / "agent-socket.md"
FETCH = FetchRequest(
    tracker="http://server:8000",
    etag=Etag(ETAG),
    size=5,
    repo=RepoRef("model", "org/model"),
    revision="main",
    filename=RepoPath("onnx/w.bin"),
    path=Path("/cache/tmp"),
    file=FileId(1, 2),
    destination=Path("/cache/blob"),
    replace=False,
    ordinary_rate_bytes_s=7,
    endpoint="https://huggingface.co",
    anonymous=True,
    stem=Path("/cache/stem"),
    commit=Commit("c" * 40),
)
FETCH_LINE = {
    "op": "fetch", "tracker": "http://server:8000", "etag": ETAG, "size": 5, "repo_type": "model", "repo_id": "org/model",
    "revision": "main", "filename": "onnx/w.bin", "path": "/cache/tmp", "dev": 1, "ino": 2, "destination": "/cache/blob",
    "replace": False, "ordinary_rate_bytes_s": 7, "endpoint": "https://huggingface.co", "anonymous": True, "stem": "/cache/stem",
    "commit": "c" * 40,
}  # fmt: skip
TRACKER = "http://server:8000"

REQUESTS: list[tuple[Request, dict[str, Any]]] = [
    (FETCH, FETCH_LINE),
    (FetchBegun(TRACKER, Etag(ETAG), Path("/s")), {"op": "fetching", "etag": ETAG, "stem": "/s", "tracker": TRACKER}),
    (Landed(TRACKER, Etag(ETAG), Path("/f"), True),
     {"op": "landed", "etag": ETAG, "path": "/f", "tracker": TRACKER, "fetched": True}),
    (Seed(TRACKER, Etag(ETAG), Path("/f")), {"op": "seed", "tracker": TRACKER, "etag": ETAG, "path": "/f"}),
    (Unseed((Etag(ETAG),)), {"op": "unseed", "etags": [ETAG]}),
    (Hello(), {"op": "hello"}),
    (Retire(), {"op": "retire"}),
    (Status(), {"op": "status"}),
    (Stop(), {"op": "stop"}),
]  # fmt: skip
ANSWERS: list[tuple[Answer, dict[str, Any]]] = [
    (Progress(3, 2, 1), {"event": "progress", "bytes": 3, "rate_bytes_s": 2, "peers": 1}),
    (Progress(3, 2, waiting=True), {"event": "progress", "bytes": 3, "rate_bytes_s": 2, "peers": 0, "waiting": True}),
    (Done(True, 5, 4, 2, 0.5),
     {"event": "done", "moved": True, "bytes_from_lan": 5, "bytes_by_http": 4, "peers": 2, "seconds": 0.5}),
    (Refused("no"), {"event": "refused", "reason": "no", "fetch": False}),
    (Refused("yours", fetch=True), {"event": "refused", "reason": "yours", "fetch": True}),
    (Failed("gone", ((0, 4), (6, 10)), fetch=True),
     {"event": "failed", "reason": "gone", "have": [[0, 4], [6, 10]], "fetch": True}),
    (Ok(), {"event": "ok"}),
    (Ok(path=Path("/f")), {"event": "ok", "path": "/f"}),
    (Ok(count=0), {"event": "ok", "count": 0}),
    (Greeting(), {"event": "hello"}),
    (Greeting(4096), {"event": "hello", "min_blob_bytes": 4096}),
    (Retiring(), {"event": "retiring"}),
    (Stopping(), {"event": "stopping"}),
    (Ending(), {"event": "ending", "reason": "the agent is ending"}),
]  # fmt: skip


@pytest.mark.parametrize(("request_", "line"), REQUESTS)
def test_a_request_is_written_as_ever_and_read_back(request_: Request, line: Mapping[str, Any]) -> None:
    assert request_.as_json() == line
    assert requests.parse(protocol.decode(protocol.encode(line))) == request_


@pytest.mark.parametrize(("answer", "line"), ANSWERS)
def test_an_answer_is_written_as_ever_and_read_back(answer: Answer, line: Mapping[str, Any]) -> None:
    assert answer.as_json() == line
    assert answers.parse(protocol.decode(protocol.encode(line))) == answer


def test_every_message_is_pinned() -> None:
    assert {type(request) for request, _ in REQUESTS} == set(requests.REQUESTS.values())
    assert {type(answer) for answer, _ in ANSWERS} | {StatusReport} == set(answers.ANSWERS.values())


def test_the_page_of_the_protocol_shows_each_message_as_it_is_written() -> None:
    page = PAGE.read_text()
    lines = [json.loads(line) for line in page.splitlines() if line.startswith('{"')]
    shown = [line for line in lines if "v" not in line]
    for line in shown:
        message = requests.parse(line) if "op" in line else answers.parse(line)
        assert message is not None, line
        assert message.as_json() == line
    assert {line["op"] for line in shown if "op" in line} == set(requests.REQUESTS)
    assert {line["event"] for line in shown if "event" in line} == set(answers.ANSWERS) - {"status"}
    for op in requests.REQUESTS:
        assert f"| `{op}` |" in page


def test_the_page_of_the_protocol_names_the_times_and_limits_of_the_code() -> None:
    page = PAGE.read_text()
    link = LinkTimings()
    for what, seconds in [
        ("answers what takes it no time", link.connect_s),
        ("`hello`, `retire`", link.hello_s),
        ("an agent that dies is gone", link.ending_s),
        ("a started agent is ready", link.start_s),
        ("an older agent that makes room is gone", link.retire_s),
        ("takes what it is told", SocketTimings().request_s),
    ]:
        assert re.search(rf"{what} \| {seconds:g} s", page), what
    assert f"`LLMPT_STALL_TIMEOUT` + {link.silence_margin_s:g} s" in page
    assert f"at most {MAX_WORKING} requests" in page
    assert f"version of the protocol, {protocol.PROTOCOL_VERSION};" in page
    assert protocol.MAX_LINE_BYTES == 1 << 20
    assert "at most 1 MiB" in page


def test_the_bytes_of_a_line() -> None:
    line = protocol.encode(Hello().as_json())
    assert line.startswith(b'{"v":1,"version":"')
    assert line.endswith(b'","op":"hello"}\n')


def test_a_status_says_which_version_the_agent_is() -> None:
    line = protocol.decode(protocol.encode(StatusReport({"pid": 7}).as_json()))
    assert {name: line[name] for name in ("event", "pid")} == {"event": "status", "pid": 7}
    report = answers.parse(line)
    assert isinstance(report, StatusReport)
    assert (report.report["pid"], report.report["version"]) == (7, line["version"])


def test_an_older_hooks_request_lacks_what_came_later() -> None:
    later = ("ordinary_rate_bytes_s", "endpoint", "anonymous", "stem", "commit")
    line = {name: FETCH_LINE[name] for name in FETCH_LINE if name not in later}
    parsed = requests.parse(line)
    assert isinstance(parsed, FetchRequest)
    assert (parsed.ordinary_rate_bytes_s, parsed.endpoint, parsed.anonymous, parsed.stem) == (0, "", False, None)
    assert parsed.of is None
    assert "commit" not in parsed.as_json()


@pytest.mark.parametrize("commit", ["", "main", "C" * 40, "c" * 41, "c" * 39 + "\n"])
def test_a_file_of_a_commit_that_git_could_not_have_is_fetched_by_itself(commit: str) -> None:
    parsed = FetchRequest.parse({**FETCH_LINE, "commit": commit})
    assert (parsed.commit, parsed.of) == (None, None)
    assert FetchRequest.parse({**FETCH_LINE, "repo_id": "../x"}).of is None
    assert FETCH.of == RepoCommit(RepoRef("model", "org/model"), Commit("c" * 40))


@pytest.mark.parametrize(
    "change", [{"repo_id": "a/b/c"}, {"repo_type": "bucket"}, {"repo_id": ""}, {"repo_id": "../x"}, {"repo_type": ""}]
)
def test_a_file_of_a_repo_that_the_hub_could_not_have_is_fetched_all_the_same(change: dict[str, str]) -> None:
    parsed = FetchRequest.parse({**FETCH_LINE, **change})
    assert parsed.repo is None
    assert parsed.title == ETAG
    assert FetchRequest.parse(parsed.as_json()) == parsed


@pytest.mark.parametrize("name", ["", "./w.bin", "../w.bin", "/w.bin", "a\\b", "w\0.bin", "a" * 256])
def test_so_is_one_whose_path_is_none_of_the_hub(name: str) -> None:
    parsed = FetchRequest.parse({**FETCH_LINE, "filename": name})
    assert parsed.filename is None
    assert parsed.title == ETAG


@pytest.mark.parametrize(
    ("op", "change"),
    [
        ("fetching", {"etag": "x"}), ("fetching", {"stem": "s"}), ("fetching", {"tracker": None}),
        ("landed", {"path": "f"}), ("landed", {"path": "/f\0"}), ("landed", {"etag": None}),
        ("seed", {"path": ""}), ("seed", {"etag": ETAG.upper()}), ("seed", {"tracker": 7}),
        ("unseed", {"etags": ["x"]}), ("unseed", {"etags": [7]}),
        ("dance", {}), (None, {}), (["fetch"], {}),
    ],
)  # fmt: skip
def test_a_request_that_cannot_be_is_refused(op: Any, change: dict[str, object]) -> None:
    line = next((line for request, line in REQUESTS if request.op == op), {})
    with pytest.raises(InvalidInput):
        requests.parse({**line, "op": op, **change})


@pytest.mark.parametrize("event", ["of a later version", None, 7, ["done"]])
def test_an_event_of_a_later_version_is_passed_over(event: object) -> None:
    assert answers.parse({"event": event}) is None


@pytest.mark.parametrize(
    ("op", "is_so"), [("hello", True), ("stop", True), ("fetch", False), ("dance", False), (["stop"], False)]
)
def test_only_what_concerns_the_agent_itself_is_of_every_version(op: object, is_so: bool) -> None:
    assert requests.is_of_every_version({"op": op}) is is_so


def test_a_files_identity_is_its_device_and_inode(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.touch()
    other.hardlink_to(one)
    assert FileId.of(one.stat()) == FileId.of(other.stat())
    (tmp_path / "third").touch()
    assert FileId.of((tmp_path / "third").stat()) != FileId.of(one.stat())


PLACES = [b"/h/plain", "/h/é".encode(), b"/h/\xff\xe9", b"/h/\xc3"]


@pytest.mark.parametrize("place", PLACES)
def test_a_path_is_the_same_bytes_at_the_other_end(place: bytes) -> None:
    line = protocol.encode(Landed("http://t", Etag(ETAG), Path(os.fsdecode(place))).as_json())
    heard = requests.parse(protocol.decode(line))
    assert isinstance(heard, Landed)
    assert os.fsencode(heard.path) == place


def test_a_program_of_another_locale_writes_the_same_path_in_the_same_way() -> None:
    code = """import os, sys
from pathlib import Path
from llmpt.link import fields
assert sys.getfilesystemencoding() == "ascii"
for place in sys.argv[1:]:
    written = fields.written(Path(place))
    assert os.fsencode(fields.read_path(written)) == os.fsencode(place)
    print(ascii(written))"""
    environ = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run([sys.executable, "-c", code, *PLACES], env=environ, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [ascii(fields.written(Path(os.fsdecode(place)))) for place in PLACES]


def test_a_path_of_characters_that_are_no_bytes_is_refused() -> None:
    message = {"op": "landed", "tracker": "http://t", "etag": ETAG, "path": "/h/\ud800"}
    with pytest.raises(InvalidInput, match="path has to be of bytes"):
        requests.parse(message)
