"""Downloads in all the places and ways that people use, from a real LAN: where the files lie, and where their bytes came from."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.support.lan import BIG, Lan
from tests.support.machine import Machine

SIZE = 3 * BIG // 2
SMALL = {"config.json": b'{"a": 1}', "empty.txt": b""}
COMMIT = "c0ffee" + "0" * 34


@dataclass(frozen=True)
class Case:
    """One call of hf_hub_download: of which repo, with what. `{root}` stands for the machine's own folder."""

    repo_type: str = "model"
    refs: tuple[str, ...] = ("main",)
    commit: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    linked: bool = True  # the result is a link to a blob of a cache


CASES = {
    "cache": Case(),
    "cache-dir": Case(options={"cache_dir": "{root}/elsewhere"}),
    "local-dir": Case(options={"local_dir": "{root}/folder"}, linked=False),
    "local-dir-below": Case(options={"local_dir": "{root}/a folder/with äöü"}, linked=False),
    "force-download": Case(options={"force_download": True}),
    "force-download-local-dir": Case(options={"force_download": True, "local_dir": "{root}/forced"}, linked=False),
    "dataset": Case(repo_type="dataset"),
    "space": Case(repo_type="space"),
    "kernel": Case(repo_type="kernel"),
    "branch": Case(refs=("main", "feature/x"), options={"revision": "feature/x"}),
    "tag": Case(refs=("main", "v1.0"), options={"revision": "v1.0"}),
    "commit": Case(commit=COMMIT, options={"revision": COMMIT}),
    "pull-request": Case(refs=("main", "refs/pr/1"), options={"revision": "refs/pr/1"}),
    "another-file-system": Case(options={"cache_dir": "{other}/cache"}),
    "local-dir-on-another-file-system": Case(options={"local_dir": "{other}/folder"}, linked=False),
}

ALL_OF_THEM = """
import json, sys
from huggingface_hub import hf_hub_download
calls, result = json.loads(sys.argv[1]), {}
for name, repo_type, options in calls:
    result[name] = hf_hub_download(f"cases/{name}", f"{name}.bin", repo_type=repo_type, **options)
    if options.get("force_download"):
        result[name] = hf_hub_download(f"cases/{name}", f"{name}.bin", repo_type=repo_type, **options)
    hf_hub_download(f"cases/{name}", "config.json", repo_type=repo_type, **options)
    hf_hub_download(f"cases/{name}", "empty.txt", repo_type=repo_type, **options)
print(json.dumps(result))
"""


@contextmanager
def tmpfs(path: Path, *options: str) -> Iterator[Path]:
    """A file system of its own at `path`; the test is left out where one may not be mounted."""
    path.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", ",".join(("mode=0755", *options)), "tmpfs", str(path)]
    if subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting a file system takes root and its capabilities")
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


@pytest.fixture(scope="module")
def lan(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lan]:
    with Lan(tmp_path_factory.mktemp("lan") / "lan") as running:
        running.hub.mode.refuse_bytes_over = BIG
        yield running


@pytest.fixture(scope="module")
def ann(lan: Lan) -> Iterator[Machine]:
    with lan.machine("ann") as machine:
        yield machine


@pytest.fixture(scope="module")
def contents(lan: Lan) -> dict[str, bytes]:
    """The big file of each case, published and seeded."""
    contents = {name: os.urandom(SIZE) for name in CASES}
    for name, case in CASES.items():
        files = {f"{name}.bin": contents[name], **SMALL}
        lan.hub.add(f"cases/{name}", files, repo_type=case.repo_type, refs=case.refs, commit=case.commit)
        lan.mirror(f"cases/{name}", repo_type=case.repo_type)
    for name, case in CASES.items():
        lan.seeded(f"cases/{name}", repo_type=case.repo_type)
    return contents


@pytest.fixture(scope="module")
def other_file_system(ann: Machine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder on another file system than the machine's home and runtime folder."""
    shm = Path("/dev/shm")
    if shm.is_dir() and os.access(shm, os.W_OK) and shm.stat().st_dev != ann.root.stat().st_dev:
        folder = shm / ann.root.name
        folder.mkdir()
        yield folder
        subprocess.run(["rm", "-rf", str(folder)], check=True)
    else:
        with tmpfs(tmp_path_factory.mktemp("fs") / "other") as mounted:
            yield mounted


@pytest.fixture(scope="module")
def results(ann: Machine, contents: dict[str, bytes], other_file_system: Path) -> dict[str, Path]:
    """Where hf_hub_download says that each case's file lies: one program makes all the calls."""
    places = {"{root}": str(ann.root), "{other}": str(other_file_system)}

    def placed(value: Any) -> Any:
        for name, path in places.items():
            value = value.replace(name, path) if isinstance(value, str) else value
        return value

    calls = [
        [name, case.repo_type, {option: placed(value) for option, value in case.options.items()}] for name, case in CASES.items()
    ]
    out = ann.run("-c", ALL_OF_THEM, json.dumps(calls)).stdout
    return {name: Path(path) for name, path in json.loads(out.splitlines()[-1]).items()}


@pytest.fixture(scope="module")
def rows(ann: Machine, results: dict[str, Path]) -> list[dict[str, Any]]:
    assert results
    downloads: list[dict[str, Any]] = ann.status()["downloads"]
    return downloads


@pytest.mark.parametrize("name", CASES)
def test_every_way_of_asking_is_served_by_the_lan(
    lan: Lan, contents: dict[str, bytes], results: dict[str, Path], rows: list[dict[str, Any]], name: str
) -> None:
    path = results[name]
    assert path.read_bytes() == contents[name]
    assert path.is_symlink() == CASES[name].linked
    assert path.resolve().stat().st_nlink == 1
    assert lan.hub.gets(f"{name}.bin") == 0
    first = next(row for row in rows if row["filename"] == f"{name}.bin")
    assert (first["outcome"], first["bytes_from_lan"], first["repo_type"]) == ("done", SIZE, CASES[name].repo_type)
    assert first["revision"] == CASES[name].options.get("revision", "main")
    for small, content in SMALL.items():
        beside = path.with_name(small)
        assert beside.read_bytes() == content


def test_small_and_empty_files_never_reach_the_agent(rows: list[dict[str, Any]]) -> None:
    assert {row["filename"] for row in rows} == {f"{name}.bin" for name in CASES}


def test_nothing_unfinished_is_left(ann: Machine, results: dict[str, Path], other_file_system: Path) -> None:
    assert results
    assert not [path for folder in (ann.root, other_file_system) for path in folder.rglob("*.incomplete")]


def test_a_forced_download_beside_ones_own_seed_is_a_copy_of_it(rows: list[dict[str, Any]]) -> None:
    first, second = (row for row in rows if row["filename"] == "force-download.bin")
    assert (first["moved"], second["moved"], second["bytes_from_lan"]) == (True, False, 0)


# Processes of their own.


def publish(lan: Lan, repo: str, content: bytes, **options: Any) -> None:
    lan.hub.add(repo, {"model.bin": content, **SMALL}, **options)
    lan.mirror(repo)


def test_to_a_cache_and_to_a_folder_at_once(lan: Lan, ann: Machine) -> None:
    content = os.urandom(8 * BIG)
    publish(lan, "org/both", content)
    lan.seeded("org/both")
    script = """
from concurrent.futures import ThreadPoolExecutor
from huggingface_hub import snapshot_download
with ThreadPoolExecutor(3) as pool:
    jobs = [pool.submit(snapshot_download, "org/both", **more) for more in ({}, {"local_dir": "both"}, {"cache_dir": "other"})]
print(*[job.result() for job in jobs], sep="\\n")
"""
    found = [Path(line) / "model.bin" for line in ann.script(script).splitlines()[-3:]]
    assert [(ann.root / path).read_bytes() == content for path in found] == [True] * 3
    assert len({(ann.root / path).resolve().stat().st_ino for path in found}) == 3, "three files: people edit those in a folder"
    rows = [row for row in ann.status()["downloads"] if row["repo_id"] == "org/both"]
    assert sum(row["bytes_from_lan"] for row in rows) == len(content), "one transfer"
    assert lan.hub.gets("model.bin") == 0


def test_a_cache_without_links_is_filled(lan: Lan, ann: Machine) -> None:
    content = os.urandom(SIZE)
    publish(lan, "org/no-links", content)
    lan.seeded("org/no-links")
    script = "from huggingface_hub import hf_hub_download as get; print(get('org/no-links', 'model.bin', cache_dir='no-links'))"
    path = ann.root / ann.script(script, HF_HUB_DISABLE_SYMLINKS="1").splitlines()[-1]
    assert not path.is_symlink()
    assert path.read_bytes() == content
    assert lan.hub.gets("model.bin") == 0
    seeded = ann.status()["seeding"]
    assert str(path.resolve()) in {row["path"] for row in seeded}, "the agent was told where the file lies at last"


def test_offline_nobody_is_asked(lan: Lan, ann: Machine) -> None:
    publish(lan, "org/offline", os.urandom(SIZE))
    lan.seeded("org/offline")
    before = len(ann.status()["downloads"])
    lan.hub.forget()
    script = """
from huggingface_hub import hf_hub_download
try:
    hf_hub_download("org/offline", "model.bin")
except Exception as error:
    print(type(error).__name__)
"""
    assert ann.script(script, HF_HUB_OFFLINE="1") == "LocalEntryNotFoundError"
    assert len(ann.status()["downloads"]) == before
    assert not lan.hub.requests


def test_the_hubs_refusal_of_a_gated_repo_stands_though_the_lan_has_its_content(lan: Lan, ann: Machine) -> None:
    content = os.urandom(SIZE)
    publish(lan, "org/open", content)
    lan.seeded("org/open")
    lan.hub.add("org/gated", {"model.bin": content}, gated=True)
    before = len(ann.status()["downloads"])
    script = """
from huggingface_hub import hf_hub_download
try:
    hf_hub_download("org/gated", "model.bin", token=False)
except Exception as error:
    print(type(error).__name__)
"""
    assert "GatedRepo" in ann.script(script) or "HTTPError" in ann.script(script)
    assert len(ann.status()["downloads"]) == before
    with_token = "from huggingface_hub import hf_hub_download as get; print(get('org/gated', 'model.bin', token='hf_x'))"
    assert Path(ann.script(with_token).splitlines()[-1]).read_bytes() == content
    assert lan.hub.gets("model.bin") == 0


FAILING = """
import json, sys
from huggingface_hub import hf_hub_download
try:
    print(json.dumps(hf_hub_download(sys.argv[1], "model.bin", cache_dir=sys.argv[2])))
except OSError as error:
    print(json.dumps([error.errno, type(error).__name__]))
"""


def run(machine: Machine, repo: str, cache: Path, *, with_us: bool = True) -> Any:
    """Download model.bin; return where it lies, or the error's number and name."""
    out = machine.run("-c", FAILING, repo, str(cache), HF_USE_P2P="1" if with_us else "0").stdout
    return json.loads(out.splitlines()[-1])


def test_a_full_disk_is_the_librarys_own_error_and_is_not_full_of_ours(lan: Lan, ann: Machine, tmp_path: Path) -> None:
    publish(lan, "org/full", os.urandom(8 * BIG))
    lan.seeded("org/full")
    lan.hub.mode.refuse_bytes_over = None
    try:
        with tmpfs(tmp_path / "small", "size=4m") as disk:
            errno, _ = run(ann, "org/full", disk)
            assert errno == 28
            left = [path for path in disk.rglob("*") if path.is_file()]
            free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
            library = sum(path.stat().st_blocks * 512 for path in left)  # what the library itself leaves is its own matter
            assert free + library >= 4 * BIG - 512 * 1024
            assert not [path for path in left if path.name.count(".") == 2 and path.stat().st_blocks]
    finally:
        lan.hub.mode.refuse_bytes_over = BIG
    path = Path(run(ann, "org/full", tmp_path / "roomy"))
    assert path.stat().st_size == 8 * BIG, "and the agent is well"


def test_a_shared_cache_that_is_read_only_is_read_and_otherwise_the_librarys_own_matter(
    lan: Lan, ann: Machine, tmp_path: Path
) -> None:
    content = os.urandom(SIZE)
    publish(lan, "org/shared", content)
    publish(lan, "org/unshared", os.urandom(SIZE))
    for repo in ("org/shared", "org/unshared"):
        lan.seeded(repo)
    with tmpfs(tmp_path / "shared") as disk:
        assert Path(run(ann, "org/shared", disk)).read_bytes() == content
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        assert Path(run(ann, "org/shared", disk)).read_bytes() == content
        ours = run(ann, "org/unshared", disk)
        assert ours == run(ann, "org/unshared", disk, with_us=False)
        assert ours[0] == 30


def test_a_machine_that_shares_nothing_takes_and_does_not_give(lan: Lan) -> None:
    content = os.urandom(SIZE)
    publish(lan, "org/taken", content)
    lan.seeded("org/taken")
    with lan.machine("selfish", LLMPT_SHARE="off") as selfish, lan.machine("bob", LLMPT_STALL_TIMEOUT="1") as bob:
        path = Path(run(selfish, "org/taken", selfish.cache))
        assert path.read_bytes() == content
        status = selfish.status()
        assert (status["seeding"], status["downloads"][0]["outcome"]) == ([], "done")
        assert status["not_seeded"] == [{"path": str(path.resolve()), "reason": "LLMPT_SHARE=off"}]
        lan.seeder.stop()
        try:
            assert run(bob, "org/taken", bob.cache) == [None, "HfHubHTTPError"], "the Hub refuses, and nobody else has it"
        finally:
            lan.seeder.start()
        assert selfish.status()["uploaded_bytes"] == 0
