"""One server, one Hub that refuses to give big files, two workstations, no way out: where did the bytes come from?"""

from __future__ import annotations

import html
import ipaddress
import json
import re
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.worlds import MIB, MINILM, Model, Universe
from tests.support.containers import FETCH, GET, Workstation
from tests.support.waiting import eventually


class Downloaded:
    """Both models on the first workstation, and what the Hub was asked meanwhile."""

    def __init__(self, universe: Universe) -> None:
        self.workstation = universe.workstation(1)
        universe.hub.refuse_bytes_over(MIB)
        universe.hub.forget()
        self.snapshots = {model.repo_id: self.workstation.download(model.repo_id) for model in universe.models}
        self.asked = universe.hub.byte_gets()


@pytest.fixture(scope="module")
def downloaded(universe: Universe) -> Downloaded:
    return Downloaded(universe)


@pytest.fixture(params=["dummy", "minilm"])
def model(request: pytest.FixtureRequest, dummy: Model) -> Model:
    return dummy if request.param == "dummy" else MINILM


def check_cache(workstation: Workstation, model: Model, snapshot: str) -> dict[str, Any]:
    """The cache holds the model, whole and right, and nothing else; return the facts of each file."""
    found = workstation.survey(snapshot)
    files: dict[str, Any] = found["files"]
    assert snapshot.endswith(f"/models--{model.repo_id.replace('/', '--')}/snapshots/{model.commit}")
    assert files.keys() == model.files.keys()
    for path, (size, etag) in model.files.items():
        file = files[path]
        assert (file["size"], file["blob"]) == (size, etag)
        assert file["sha256" if len(etag) == 64 else "git_sha1"] == etag
        assert file["link"] == "../" * (path.count("/") + 2) + f"blobs/{etag}"
    assert found["blobs"] == sorted({etag for _, etag in model.files.values()})
    return files


def test_files_over_http_come_from_the_seeder_on_the_same_network(universe: Universe, dummy: Model) -> None:
    ((_, etag),) = dummy.big.values()
    fetched = json.loads(universe.workstation(1).python(FETCH, f"http://tracker:8000/blobs/{etag}"))
    assert fetched["sha256"] == etag
    host = fetched["url"].removeprefix("http://").removesuffix(f":8001/blobs/{etag}")
    assert ipaddress.ip_address(host).is_private


def test_the_catalogue_lists_what_the_seeder_has(universe: Universe, model: Model) -> None:
    listed = {one["etag"]: one for one in universe.tracker.catalogue(repo_id=model.repo_id, revision="main")}
    assert listed.keys() == {etag for _, etag in model.big.values()}
    for path, (size, etag) in model.big.items():
        here = {"repo_type": "model", "repo_id": model.repo_id, "commit": model.commit, "path": path}
        assert listed[etag]["size"] == size
        assert here in listed[etag]["appears_in"]
        assert listed[etag]["seeders"] == 1


def test_the_hub_gave_no_byte_of_any_file(downloaded: Downloaded) -> None:
    assert downloaded.asked == Counter()


def test_the_files_lie_in_the_cache_as_the_library_would_have_put_them(downloaded: Downloaded, model: Model) -> None:
    check_cache(downloaded.workstation, model, downloaded.snapshots[model.repo_id])


def test_each_big_file_was_written_once_and_moved_not_copied(downloaded: Downloaded, model: Model) -> None:
    files = check_cache(downloaded.workstation, model, downloaded.snapshots[model.repo_id])
    records = downloaded.workstation.downloads(model.repo_id)
    assert records.keys() == model.big.keys()
    for path, (size, _) in model.big.items():
        assert records[path]["moved"]
        assert files[path]["ino"] == records[path]["ino"], "the blob is not the file that the agent was given"
        assert files[path]["nlink"] == 1
        assert files[path]["allocated"] >= size
        assert files[path]["mode"] == 0o644


def test_both_ends_account_for_every_byte(universe: Universe, downloaded: Downloaded) -> None:
    records = [row for model in universe.models for row in downloaded.workstation.downloads(model.repo_id).values()]
    expected = sum(model.swarm_bytes for model in universe.models)
    assert [row["outcome"] for row in records] == ["done"] * len(records)
    assert sum(row["bytes_from_lan"] for row in records) == expected
    assert expected <= downloaded.workstation.status()["downloaded_bytes"] <= expected * 1.01

    def sent() -> int:
        (report,) = universe.tracker.seeders()
        sent: int = report["uploaded_bytes"] + report["http_bytes"]  # a lone leecher takes the big file both ways
        return sent if sent >= expected else 0

    seen = eventually(sent, timeout_s=25, what=f"a heartbeat of the seeder that says it sent {expected} bytes")
    assert seen <= expected * 1.1, "much of it was sent twice"


@pytest.fixture
def seeder_gone(universe: Universe, downloaded: Downloaded) -> Iterator[None]:
    universe.compose.stop("seeder")
    yield
    universe.compose.up("seeder")


@pytest.mark.usefixtures("seeder_gone")
def test_the_second_machine_gets_it_from_the_first_when_the_seeder_has_gone(universe: Universe) -> None:
    second = universe.fresh_workstation(2)
    universe.hub.forget()
    for model in universe.models:
        check_cache(second, model, second.download(model.repo_id))
        for record in second.downloads(model.repo_id).values():
            assert (record["outcome"], record["bytes_from_lan"]) == ("done", record["size"])
    assert universe.hub.byte_gets() == Counter(path for model in universe.models for path in model.small)


@pytest.mark.usefixtures("seeder_gone")
def test_with_nobody_seeding_the_hub_serves_each_file_once(universe: Universe, model: Model) -> None:
    universe.compose.stop("downloader1")
    universe.hub.refuse_bytes_over(None)
    try:
        alone = universe.fresh_workstation(2)
        universe.hub.forget()
        began = time.monotonic()
        check_cache(alone, model, alone.download(model.repo_id))
        assert time.monotonic() - began < 30, "falling back took too long"
        assert universe.hub.byte_gets() == Counter(list(model.files))
    finally:
        universe.hub.refuse_bytes_over(MIB)
        universe.compose.up("downloader1")


SAVE = "import sys, urllib.request as http; open(sys.argv[2], 'wb').write(http.urlopen(sys.argv[1], timeout=10).read())"


def test_a_workstation_installs_the_client_from_the_server_without_any_other(universe: Universe) -> None:
    node = universe.workstation(1)
    page = node.run("python", "-c", GET, "http://tracker:8000/install")
    (offline,) = re.findall(r"<h2>Without any Internet.*?<code>(.*?)</code>", page, re.DOTALL)
    fetch, install = html.unescape(offline).splitlines()
    node.run("python", "-c", SAVE, fetch.split()[-1], "/tmp/requirements.txt")  # there is no curl
    pip = "$(python -c 'import sys; print(sys._base_executable)') -m pip --isolated"
    install = install.replace("pip install", f"{pip} install --quiet --no-cache-dir --target /tmp/elsewhere")
    node.run("sh", "-c", f"cd /tmp && {install}")
    where = node.run("sh", "-c", "PYTHONPATH=/tmp/elsewhere python -c 'import libtorrent, llmpt.cli; print(llmpt.__file__)'")
    assert where.strip() == "/tmp/elsewhere/llmpt/__init__.py"
