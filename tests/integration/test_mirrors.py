"""A server with an upstream: what its clients ask for and nobody has is fetched once, for all of them."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from llmpt.core.mirrors import Mirror, MirrorAsk, MirrorState
from llmpt.core.repo import RepoRef
from llmpt.tracker.client import TrackerClient
from tests.support.hub import File, Mode
from tests.support.lan import Lan
from tests.support.machine import Machine
from tests.support.waiting import eventually

MIB = 1 << 20


@pytest.fixture(scope="module")
def shared_lan(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lan]:
    with Lan(tmp_path_factory.mktemp("lan") / "lan", upstream=True, LLMPT_MIRROR_QUOTA="64M", HF_TOKEN="hf_server") as running:
        yield running


def add(lan: Lan, repo: str, *, big: int = 2, size: int = 3 * MIB, **more: Any) -> dict[str, bytes]:
    """Put a repo on the Hub, of which nothing is here."""
    files = {f"model-{number}.safetensors": os.urandom(size) for number in range(big)}
    files |= {"config.json": b'{"a": 1}', "README.md": f"# {repo}\n".encode(), "empty.txt": b""}
    lan.hub.add(repo, files, **more)
    return files


def plain(lan: Lan, name: str) -> Machine:
    """A workstation that knows the server as its Hub, and nothing of llmpt; its user is logged in to the Hub."""
    return lan.machine(name, HF_ENDPOINT=lan.tracker.url, HF_USE_P2P="0", HF_TOKEN="hf_user")


def get(url: str) -> tuple[int, dict[str, str], bytes]:
    """GET as curl would; return status, headers and body."""
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            return answer.status, dict(answer.headers), answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, dict(error.headers), error.read()


def publisher(lan: Lan) -> TrackerClient:
    return TrackerClient(lan.tracker.url, token=lan.tracker.token, timeout_s=5)


def ended(lan: Lan, mirror: Mirror, timeout_s: float = 30) -> Mirror:
    """Wait until a mirror has ended; return it."""

    def look() -> Mirror | None:
        now = publisher(lan).mirror(mirror.id)
        return None if now.state.is_open else now

    return eventually(look, timeout_s=timeout_s, what=f"the end of {mirror}")


def blobs(lan: Lan) -> set[str]:
    """The names of all that lies in the server's second cache."""
    return {path.name for path in (lan.root / "data" / "mirror").glob("*--*/blobs/*")}


def test_a_client_without_a_hook_gets_what_nobody_has(lan: Lan, repo: str) -> None:
    files = add(lan, repo)
    with plain(lan, "ann") as ann:
        folder = ann.download(repo)
        assert {name: (folder / name).read_bytes() for name in files} == files
    assert lan.hub.bytes_sent == sum(map(len, files.values()))
    assert not any(request.authorized for request in lan.hub.requests)  # nobody's token went there
    lan.seeded(repo)
    lan.hub.mode.fail_status = 500
    with plain(lan, "bob") as bob:
        folder = bob.download(repo)
        assert {name: (folder / name).read_bytes() for name in files} == files


def test_what_many_clients_want_at_once_comes_from_the_hub_once(lan: Lan, repo: str) -> None:
    files = add(lan, repo, big=3, size=2 * MIB)
    lan.hub.mode.total_rate_bytes_s = 2 * MIB
    with ExitStack() as stack:
        machines = [stack.enter_context(plain(lan, f"m{number}")) for number in range(3)]
        machines += [stack.enter_context(lan.machine(f"h{number}", HF_ENDPOINT=lan.tracker.url)) for number in range(3)]
        for download in [machine.start_download(repo) for machine in machines]:
            out, err = download.communicate(timeout=90)
            assert download.returncode == 0, err
            folder = Path(out.splitlines()[-1])
            assert {name: (folder / name).read_bytes() for name in files} == files
    assert lan.hub.bytes_sent <= 1.02 * sum(map(len, files.values()))


@pytest.mark.alone  # one that comes five seconds after the answer has it looked up anew
def test_a_hundred_clients_that_ask_together_cost_the_hub_one_question(lan: Lan, repo: str) -> None:
    add(lan, repo, big=1, size=MIB)
    url = f"{lan.tracker.url}/api/models/{repo}/revision/main"
    with ThreadPoolExecutor(100) as pool:
        answers = list(pool.map(lambda _: get(url)[0], range(100)))
    assert answers == [200] * 100
    assert sum("revision" in request.raw_path for request in lan.hub.requests) == 1


def test_machines_with_a_hook_wait_for_what_the_server_fetches(lan: Lan, repo: str) -> None:
    files = add(lan, repo, big=2, size=2 * MIB)
    lan.hub.mode.total_rate_bytes_s = MIB
    mirror = publisher(lan).ask_mirror(MirrorAsk(RepoRef("model", repo), "main", ("*",)))
    with lan.machine("ann") as ann:
        folder = ann.download(repo)
        assert {name: (folder / name).read_bytes() for name in files} == files
    assert ended(lan, mirror).state is MirrorState.DONE
    assert {name: lan.hub.gets(name) for name in files if name.endswith("safetensors")} == {
        "model-0.safetensors": 1,
        "model-1.safetensors": 1,
    }


@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [({}, 401, "RepoNotFound"), ({"private": True}, 401, "RepoNotFound"), ({"gated": True}, 401, "GatedRepo")],
)
def test_the_no_of_upstream_is_passed_on(lan: Lan, repo: str, kind: dict[str, bool], status: int, code: str) -> None:
    if kind:
        add(lan, repo, **kind)
    for _ in range(2):
        answered, headers, body = get(f"{lan.tracker.url}/api/models/{repo}/revision/main")
        assert (answered, headers.get("X-Error-Code")) == (status, code), body
    assert sum(repo in request.raw_path and "revision" in request.raw_path for request in lan.hub.requests) == 1
    assert lan.hub.byte_gets == 0
    assert repo not in repr(TrackerClient(lan.tracker.url).mirrors())  # whose names these are is nobody's business


def test_an_unknown_revision_is_upstreams_word_too(lan: Lan, repo: str) -> None:
    add(lan, repo)
    answered, headers, _ = get(f"{lan.tracker.url}/api/models/{repo}/revision/lost")
    assert (answered, headers.get("X-Error-Code")) == (404, "RevisionNotFound")


def test_a_429_of_upstream_reaches_the_client_with_its_retry_after(lan: Lan, repo: str) -> None:
    add(lan, repo)
    lan.hub.mode = Mode(fail_status=429, retry_after_s=40)
    answered, headers, _ = get(f"{lan.tracker.url}/api/models/{repo}/revision/main")
    assert answered == 429
    assert 30 <= int(headers["Retry-After"]) <= 40


def test_a_429_for_a_file_is_waited_for_and_shown(lan: Lan, repo: str) -> None:
    add(lan, repo, big=1)
    mirror = publisher(lan).ask_mirror(MirrorAsk(RepoRef("model", repo), "main", ("*.json",)))
    ended(lan, mirror)
    lan.hub.mode = Mode(fail_gets_status=429, retry_after_s=1)
    mirror = publisher(lan).ask_mirror(MirrorAsk(RepoRef("model", repo), "main", ("*.safetensors",)))

    def waits() -> Any:
        error = publisher(lan).mirror(mirror.id).error
        return error is not None and error.status == 429

    eventually(waits, timeout_s=20, what="the mirror says that upstream asks to wait")
    lan.hub.mode = Mode()
    assert ended(lan, mirror).state is MirrorState.DONE


def test_a_connection_that_breaks_costs_nothing_that_had_come(lan: Lan, repo: str) -> None:
    files = add(lan, repo, big=1, size=4 * MIB)
    lan.hub.mode.cut_after_bytes = 3 * MIB
    mirror = ended(lan, publisher(lan).ask_mirror(MirrorAsk(RepoRef("model", repo), "main", ("*",))))
    assert (mirror.state, mirror.report.files_done, mirror.report.bytes_done) == (
        MirrorState.DONE,
        4,
        sum(map(len, files.values())),
    )
    assert lan.hub.bytes_sent <= 1.02 * sum(map(len, files.values()))
    lan.seeded(repo)


def test_a_file_is_sent_on_while_it_still_comes_in(lan: Lan, repo: str) -> None:
    content = add(lan, repo, big=1, size=4 * MIB)["model-0.safetensors"]
    commit = json.loads(get(f"{lan.tracker.url}/api/models/{repo}/revision/main")[2])["sha"]
    lan.hub.mode.throttle_bytes_s = MIB
    with urllib.request.urlopen(f"{lan.tracker.url}/{repo}/resolve/{commit}/model-0.safetensors", timeout=30) as answer:
        first = answer.read(64 << 10)
        sent = lan.hub.bytes_sent
        assert first == content[: 64 << 10]
        assert sent < len(content)
        lan.hub.mode.throttle_bytes_s = None
        assert first + answer.read() == content
    assert lan.hub.gets("model-0.safetensors") == 1


def test_nobody_gets_the_whole_of_what_is_not_what_its_etag_says(lan: Lan, repo: str) -> None:
    right = add(lan, repo, big=1, size=2 * MIB)["model-0.safetensors"]
    wrong = right[:-1] + bytes([right[-1] ^ 1])
    etag = hashlib.sha256(right).hexdigest()
    commit = lan.hub.repos["model", repo].commit_of("main") or ""
    lan.hub.repos["model", repo].commits[commit]["model-0.safetensors"] = File(wrong, len(wrong), etag, True)
    assert get(f"{lan.tracker.url}/api/models/{repo}/revision/main")[0] == 200
    lan.hub.mode.throttle_bytes_s = 2 * MIB
    mirror = publisher(lan).ask_mirror(MirrorAsk(RepoRef("model", repo), commit, ("model-0.safetensors",)))
    eventually(lambda: get_head(f"{lan.tracker.url}/blobs/{etag}"), what="the file begins to come")
    with (
        pytest.raises((OSError, http.client.IncompleteRead)),
        urllib.request.urlopen(f"{lan.tracker.url}/blobs/{etag}", timeout=30) as answer,
    ):
        answer.read()
    mirror = ended(lan, mirror)
    assert (mirror.state, mirror.report.files_done) == (MirrorState.FAILED, 0)
    assert "not what its etag says" in str(mirror.error)
    assert etag not in blobs(lan)
    assert not TrackerClient(lan.tracker.url).get_torrents(etag=etag)


def get_head(url: str) -> bool:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=5):
            return True
    except urllib.error.HTTPError:
        return False


def test_the_queue_goes_on_after_the_seeder_was_killed(lan: Lan, repo: str) -> None:
    add(lan, repo, big=3, size=2 * MIB)
    lan.hub.mode.total_rate_bytes_s = MIB
    mirror = publisher(lan).ask_mirror(MirrorAsk(RepoRef("model", repo), "main", ("*",)))
    eventually(lambda: publisher(lan).mirror(mirror.id).report.bytes_done > 0, timeout_s=20, what="the first bytes")
    lan.seeder.kill()
    lan.hub.mode = Mode()
    lan.seeder.start()
    assert ended(lan, mirror, timeout_s=40).state is MirrorState.DONE
    assert not [name for name in blobs(lan) if name.endswith(".incomplete")]
    lan.seeded(repo)


def test_what_was_dropped_for_the_quota_is_fetched_again_when_it_is_wanted(lan: Lan, repo: str) -> None:
    content = add(lan, repo, big=1, size=2 * MIB)["model-0.safetensors"]
    etag = hashlib.sha256(content).hexdigest()
    ended(lan, publisher(lan).ask_mirror(MirrorAsk(RepoRef("model", repo), "main", ("*.safetensors",))))
    lan.seeded(repo)
    lan.hub.add("org/huge", {"huge.bin": os.urandom(63 * MIB)})
    mirror = ended(lan, publisher(lan).ask_mirror(MirrorAsk(RepoRef("model", "org/huge"), "main", ("*.bin",))))
    assert mirror.state is MirrorState.DONE
    assert etag not in blobs(lan)
    eventually(lambda: all(one.seeders == 0 for one in lan.torrents(repo)), timeout_s=20, what="the blob to be withdrawn")
    assert get(f"{lan.tracker.url}/{repo}/resolve/main/model-0.safetensors")[2] == content
    assert lan.hub.gets("model-0.safetensors") == 2
    lan.hub.add("org/never", {"never.bin": bytes(65 * MIB)})
    mirror = ended(lan, publisher(lan).ask_mirror(MirrorAsk(RepoRef("model", "org/never"), "main", ("*",))))
    assert "can never fit into LLMPT_MIRROR_QUOTA" in str(mirror.error)


def test_the_command_line_has_a_repo_fetched_and_shows_what_is(lan: Lan, repo: str) -> None:
    add(lan, repo, big=1)
    with lan.machine("ann") as ann:
        said = ann.llmpt("mirror", repo, "--include", "*.safetensors", "--include", "config.json")
        assert f"{repo} at " in said
        assert "is here: 2 files" in said
        assert f"{repo}" in ann.llmpt("mirror", "--list")
        refused = ann.run("-m", "llmpt", "mirror", "org/nowhere", check=False)
        assert refused.returncode == 1
        assert "org/nowhere was not fetched: Repository Not Found (401)" in refused.stderr
    lan.seeded(repo)
    assert (lan.hub.gets("model-0.safetensors"), lan.hub.gets("README.md")) == (1, 0)


def test_what_an_operator_cancels_stops_is_not_begun_anew_and_leaves_room(lan: Lan, repo: str) -> None:
    add(lan, repo, big=3, size=2 * MIB)
    wanted = MirrorAsk(RepoRef("model", repo), "main", ("*",))
    lan.hub.mode.throttle_bytes_s = MIB // 64
    mirror = publisher(lan).ask_mirror(wanted)
    eventually(lambda: publisher(lan).mirror(mirror.id).report.bytes_done > 0, timeout_s=20, what="the first bytes")
    assert f"cancelled: 1 of {wanted.repo}" in lan.tracker.command("queue", "cancel", repo)
    eventually(lambda: not [name for name in blobs(lan) if name.endswith(".incomplete")], timeout_s=20, what="the files to go")
    assert publisher(lan).mirror(mirror.id).state is MirrorState.CANCELLED
    lan.hub.mode = Mode()
    commit = json.loads(get(f"{lan.tracker.url}/api/models/{repo}/revision/main")[2])["sha"]
    asked = lan.hub.byte_gets
    other = publisher(lan).ask_mirror(MirrorAsk(RepoRef("model", repo), commit, ("model-0.safetensors",)))
    assert ended(lan, other).state is MirrorState.DONE  # the seeder works on, and what was cancelled has not gone on
    assert lan.hub.byte_gets == asked + 1
    publisher(lan).ask_mirror(wanted)  # by hand
    assert ended(lan, mirror).state is MirrorState.DONE
