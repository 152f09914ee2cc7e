"""The whole publish, seed, download path: three real roles as processes on loopback, an unmodified huggingface_hub."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmpt.core.repo import RepoRef
from tests.support.hub import FakeHub
from tests.support.lan import BIG, Lan
from tests.support.machine import Machine
from tests.support.waiting import eventually

SMALL = {"config.json": b'{"a": 1}', "README.md": b"# dummy\n", "empty.txt": b""}


@pytest.fixture
def slow_lan(tmp_path: Path) -> Iterator[Lan]:
    """A LAN whose seeder gives 8 MiB/s: time enough to pull plugs."""
    with Lan(tmp_path / "lan", LLMPT_UPLOAD_LIMIT="8M") as running:
        yield running


def publish(lan: Lan, repo: str, *, size: int = 5_000_000) -> dict[str, bytes]:
    files = {"dummy_model.bin": os.urandom(size), **SMALL}
    lan.hub.add(repo, files)
    lan.mirror(repo)
    lan.seeded(repo)
    return files


def assert_snapshot(folder: Path, files: dict[str, bytes]) -> None:
    """The files have their content, as links to blobs named by it, and nothing is left over."""
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}
    assert found == set(files)
    for name, content in files.items():
        link = folder / name
        assert link.is_symlink(), name
        assert link.read_bytes() == content, name
        if len(content) >= BIG:
            assert link.resolve().name == hashlib.sha256(content).hexdigest()
    assert not list(folder.parents[1].rglob("*.incomplete"))


def test_a_snapshot_comes_from_the_swarm_and_the_hub_gives_small_files_at_most(lan: Lan, ann: Machine, repo: str) -> None:
    files = publish(lan, repo)
    lan.hub.mode.refuse_bytes_over = BIG
    folder = ann.download(repo)
    assert_snapshot(folder, files)
    assert lan.hub.gets("dummy_model.bin") == 0
    assert all(lan.hub.gets(name) <= 1 for name in ("config.json", "README.md"))
    row = next(row for row in ann.status()["downloads"] if row["filename"] == "dummy_model.bin")
    assert (row["outcome"], row["moved"], row["bytes_from_lan"]) == ("done", True, 5_000_000)
    assert sum(row["bytes_by_peer"].values()) == 5_000_000
    blob = (folder / "dummy_model.bin").resolve().stat()
    assert (blob.st_ino, blob.st_nlink) == (row["ino"], 1)
    assert blob.st_blocks * 512 >= 5_000_000


def test_a_repo_in_another_case_is_the_same_repo_in_the_folder_that_was_asked_for(lan: Lan, ann: Machine, repo: str) -> None:
    files = publish(lan, repo)
    eventually(lambda: lan.answers_for(repo), timeout_s=30, what="the LAN to answer for the repo")
    commit, asked = lan.hub.repos["model", repo].commit_of("main"), repo.upper()
    lan.hub.forget()
    folder = ann.download(asked, revision=commit)
    assert_snapshot(folder, files)
    assert folder.parents[1].name == RepoRef("model", asked).folder, "as huggingface_hub itself names it"
    assert not [request for request in lan.hub.requests if "/resolve/" in request.raw_path or "/tree/" in request.raw_path]
    assert {torrent.etag for torrent in lan.torrents(asked)} == {torrent.etag for torrent in lan.torrents(repo)}
    assert "whole listing" in ann.llmpt("ls", "--repo", asked)


def test_a_second_machine_is_served_by_the_first_when_the_seeder_is_gone(lan: Lan, ann: Machine, repo: str) -> None:
    files = publish(lan, repo)
    lan.hub.mode.refuse_bytes_over = BIG
    ann.download(repo)
    lan.seeder.stop()
    with lan.machine("bob") as bob:
        assert_snapshot(bob.download(repo), files)
        eventually(lambda: ann.status()["uploaded_bytes"] >= 5_000_000, what="the first machine's upload counter")
    assert lan.hub.gets("dummy_model.bin") == 0


def test_with_nobody_seeding_the_hub_is_asked_once_per_file(lan: Lan, ann: Machine, repo: str) -> None:
    files = publish(lan, repo)
    lan.seeder.stop()
    assert_snapshot(ann.download(repo), files)
    assert [lan.hub.gets(name) for name in ("dummy_model.bin", "config.json", "README.md")] == [1, 1, 1]


def test_a_blob_that_rots_after_publishing_never_enters_a_cache(lan: Lan, ann: Machine, repo: str) -> None:
    files = publish(lan, repo)
    blob = next(path for path in (lan.cache / RepoRef("model", repo).folder / "blobs").iterdir() if path.stat().st_size >= BIG)
    stamp = blob.stat()
    with blob.open("r+b") as file:
        file.seek(2 << 20)
        file.write(b"rot" * 1000)
    os.utime(blob, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))  # nothing shows but the ctime, at the next look
    assert_snapshot(ann.download(repo), files)
    assert lan.hub.gets("dummy_model.bin") >= 1


def test_a_blob_rotten_before_publishing_is_never_published(lan: Lan, repo: str) -> None:
    lan.hub.add(repo, {"good.bin": os.urandom(2 * BIG), "rotten.bin": os.urandom(2 * BIG)})
    rotten = lan.hub.file(repo, "rotten.bin").etag
    folder = lan.cache / RepoRef("model", repo).folder
    (folder / "blobs").mkdir(parents=True)
    (folder / "blobs" / rotten).write_bytes(os.urandom(2 * BIG))
    lan.mirror(repo)
    eventually(lambda: rotten in lan.seeder.log.read_text(), timeout_s=20, what="the seeder's report")
    eventually(lambda: len(lan.torrents(repo)) == 1, timeout_s=20, what="the good file")
    assert lan.torrents(repo)[0].etag == lan.hub.file(repo, "good.bin").etag


def test_a_new_commit_is_published_and_the_old_content_is_not_taken_for_it(lan: Lan, ann: Machine, repo: str) -> None:
    publish(lan, repo)
    ann.download(repo)
    files = publish(lan, repo)
    lan.hub.mode.refuse_bytes_over = BIG
    assert_snapshot(ann.download(repo), files)


def test_private_and_gated_repos_are_not_shared(lan: Lan, repo: str) -> None:
    lan.hub.add("org/private", {"model.bin": os.urandom(2 * BIG)}, private=True)
    lan.hub.add("org/gated", {"model.bin": os.urandom(2 * BIG)}, gated=True)
    lan.mirror("org/private")
    lan.mirror("org/gated")
    publish(lan, repo)
    assert lan.torrents("org/private") == []
    assert lan.torrents("org/gated") == []


def test_a_deleted_blob_is_withdrawn(lan: Lan, repo: str) -> None:
    publish(lan, repo)
    for path in (lan.cache / RepoRef("model", repo).folder / "blobs").iterdir():
        path.unlink()
    eventually(lambda: all(t.seeders == 0 for t in lan.torrents(repo)), timeout_s=20, what="the withdrawal")


def test_eight_processes_that_download_at_once_start_one_agent(lan: Lan, ann: Machine, repo: str) -> None:
    files = publish(lan, repo)
    lan.hub.mode.refuse_bytes_over = BIG
    processes = [ann.start("-c", _into_folder(repo, f"w{number}")) for number in range(8)]
    for process in processes:
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, out + err
    for number in range(8):
        assert (ann.root / f"w{number}" / "dummy_model.bin").read_bytes() == files["dummy_model.bin"]
    assert ann.agent_log().count("ready at") == 1
    assert lan.hub.gets("dummy_model.bin") == 0


def _into_folder(repo: str, name: str) -> str:
    return f"from huggingface_hub import snapshot_download; snapshot_download({repo!r}, local_dir={name!r})"


def test_hf_hub_download_to_a_cache_and_to_a_folder(lan: Lan, ann: Machine, repo: str) -> None:
    files = publish(lan, repo)
    lan.hub.mode.refuse_bytes_over = BIG
    code = f"from huggingface_hub import hf_hub_download as get; print(get({repo!r}, 'dummy_model.bin'%s))"
    in_cache = Path(ann.script(code % ""))
    in_folder = Path(ann.script(code % ", local_dir='here'"))
    assert in_cache.read_bytes() == in_folder.read_bytes() == files["dummy_model.bin"]
    assert in_folder.stat().st_nlink == 1
    assert in_folder.stat().st_ino != in_cache.resolve().stat().st_ino
    assert lan.hub.gets("dummy_model.bin") == 0


def test_force_download_next_to_ones_own_seed_replaces_the_file_and_seeds_on(lan: Lan, ann: Machine, repo: str) -> None:
    files = publish(lan, repo)
    lan.hub.mode.refuse_bytes_over = BIG
    ann.download(repo)
    lan.seeder.stop()
    assert_snapshot(ann.download(repo, force_download=True), files)
    with lan.machine("bob") as bob:
        assert_snapshot(bob.download(repo), files)
    assert lan.hub.gets("dummy_model.bin") == 0


# Pulling plugs in the middle of a download: the user gets the right file, and everything comes back by itself.


def _downloading(lan: Lan, machine: Machine) -> bool:
    rows = machine.status().get("downloads", [])
    return any(row["outcome"] == "running" and row["bytes_from_lan"] > 0 for row in rows)


@pytest.mark.parametrize("victim", ["tracker", "announcer", "seeder", "agent"])
def test_killing_a_role_in_the_middle_leaves_the_right_file(slow_lan: Lan, victim: str, repo: str) -> None:
    files = publish(slow_lan, repo, size=40_000_000)
    with slow_lan.machine("ann") as ann:
        process = ann.start_download(repo)
        eventually(lambda: _downloading(slow_lan, ann), timeout_s=30, what="bytes to flow")
        if victim == "tracker":
            slow_lan.tracker.kill()
        elif victim == "announcer":
            os.kill(_announcer_pid(slow_lan), signal.SIGKILL)
        elif victim == "seeder":
            slow_lan.seeder.kill()
        else:
            ann.kill_agent()
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, out + err
        assert_snapshot(Path(out.strip().splitlines()[-1]), files)
        if victim in ("tracker", "announcer"):  # the peers know each other: the Hub is not needed
            assert slow_lan.hub.gets("dummy_model.bin") == 0
            slow_lan.tracker.restart()
        elif victim == "seeder":
            slow_lan.seeder.start()
        slow_lan.seeded(repo)
        slow_lan.hub.forget()
        with slow_lan.machine("bob") as bob:
            assert_snapshot(bob.download(repo), files)
        assert slow_lan.hub.gets("dummy_model.bin") == 0


def _announcer_pid(lan: Lan) -> int:
    children = Path(f"/proc/{lan.tracker.pid}/task/{lan.tracker.pid}/children").read_text().split()
    return next(int(pid) for pid in children if b"llmpt_tracker.announcer" in Path(f"/proc/{pid}/cmdline").read_bytes())


def test_a_restarted_seeder_seeds_at_once_and_reads_nothing_again(lan: Lan, repo: str) -> None:
    publish(lan, repo)
    lan.seeder.stop()
    hashed = lan.seeder.log.read_text().count("hashed")
    lan.seeder.start()
    lan.seeded(repo)
    assert lan.seeder.log.read_text().count("hashed") == hashed


def test_a_restarted_agent_seeds_what_it_had(lan: Lan, ann: Machine, repo: str) -> None:
    files = publish(lan, repo)
    lan.hub.mode.refuse_bytes_over = BIG
    ann.download(repo)
    ann.kill_agent()
    lan.seeder.stop()
    ann.llmpt("agent", "start")
    with lan.machine("bob") as bob:
        assert_snapshot(bob.download(repo), files)


def test_a_silent_tracker_costs_a_snapshot_no_more_than_a_moment(tmp_path: Path, repo: str) -> None:
    with socket.socket() as silent, FakeHub() as hub:
        silent.bind(("127.0.0.1", 0))
        silent.listen(64)  # accepts, and never answers
        hub.add(repo, {f"model-{n}.bin": os.urandom(BIG) for n in range(12)})
        tracker = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with Machine("ann", tracker=tracker, hub=hub.url) as ann:
            folder = ann.download(repo)
            assert len(list(folder.iterdir())) == 12
            # Asked at most by the first files, which run side by side; then the agent knows.
            assert ann.agent_log().count("left alone") <= 9


def test_llmpt_run_needs_no_pth_file(lan: Lan, ann: Machine, repo: str) -> None:
    files = publish(lan, repo)
    lan.hub.mode.refuse_bytes_over = BIG
    script = ann.root / "script.py"
    script.write_text(f"from huggingface_hub import snapshot_download\nprint(snapshot_download({repo!r}))\n")
    out = ann.run("-m", "llmpt", "run", str(script), HF_USE_P2P="1").stdout
    assert_snapshot(Path(out.strip().splitlines()[-1]), files)


def test_switched_off_the_lan_is_not_asked(lan: Lan, ann: Machine, repo: str) -> None:
    files = publish(lan, repo)
    code = f"from huggingface_hub import snapshot_download\nprint(snapshot_download({repo!r}))"
    folder = Path(ann.script(code, HF_USE_P2P="0"))
    assert_snapshot(folder, files)
    assert lan.hub.gets("dummy_model.bin") == 1
    said = json.loads(ann.llmpt("agent", "status", "--json", check=False))
    counted = {"questions": {"by_lan": 0, "by_hub": 0, "streamed_bytes": 0}}
    assert said == {"running": False, "reason": "no agent is running", "today": counted}


def test_a_python_without_libtorrent_takes_its_files_from_the_seeder_over_http(lan: Lan, ann: Machine, repo: str) -> None:
    files = {"model.bin": os.urandom(2 * BIG + 17), "config.json": b"{}"}
    lan.hub.add(repo, files)
    lan.mirror(repo)
    lan.seeded(repo)
    download = f"from huggingface_hub import snapshot_download\nsnapshot_download({repo!r})"
    done = ann.run("-c", f"import sys; sys.modules['libtorrent'] = None\n{download}")
    assert "2.1 MB over HTTP" in done.stderr
    assert lan.hub.gets("model.bin") == 0
    (blob,) = ann.cache.glob("models--*/snapshots/*/model.bin")
    assert blob.read_bytes() == files["model.bin"]
