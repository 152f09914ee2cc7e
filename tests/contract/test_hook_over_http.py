"""A Python that can have no agent, as one for which libtorrent has no wheels: a seeder of the LAN sends the file over HTTP."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator

import pytest

from tests.contract.test_hook_bars import CONTENTS, FILES, ONE
from tests.support.blob_server import BlobServer
from tests.support.hub import FakeHub
from tests.support.workstation import Run, Workstation

WEIGHTS = random.Random(2).randbytes(8_000_000)
ETAG = hashlib.sha256(WEIGHTS).hexdigest()
HALF = 4_000_000
A = hashlib.sha256(FILES["a.safetensors"]).hexdigest()

NO_LIBTORRENT = "import sys; sys.modules['libtorrent'] = None\n"
DOWNLOAD = (
    NO_LIBTORRENT
    + """
import json
from huggingface_hub import hf_hub_download
print(json.dumps(hf_hub_download("org/model", "model.safetensors"{more})))
"""
)


@pytest.fixture
def seeder() -> Iterator[BlobServer]:
    with BlobServer({ETAG: WEIGHTS}) as running:
        yield running


@pytest.fixture
def tracker(seeder: BlobServer) -> Iterator[BlobServer]:
    with BlobServer(redirect_to=lambda: seeder) as running:
        yield running


@pytest.fixture
def download(workstation: Workstation, hub: FakeHub, tracker: BlobServer) -> Download:
    hub.add("org/model", {"model.safetensors": WEIGHTS})
    return Download(workstation, tracker)


class Download:
    def __init__(self, workstation: Workstation, tracker: BlobServer) -> None:
        self.workstation, self.tracker = workstation, tracker

    def __call__(self, more: str = "", **environ: str) -> Run:
        run = self.workstation.run(DOWNLOAD.format(more=more), LLMPT_TRACKER=self.tracker.url, **environ)
        assert (self.workstation.home / run.result).read_bytes() == WEIGHTS
        return run


@pytest.mark.parametrize("more", ["", ", local_dir='here'", ", force_download=True"])
def test_the_file_comes_from_the_lan_all_the_same(download: Download, hub: FakeHub, seeder: BlobServer, more: str) -> None:
    run = download(more)
    assert hub.bytes_sent == 0
    assert seeder.bytes_sent == len(WEIGHTS)
    assert not download.workstation.leftovers()
    (summary,) = [line for line in run.summary if "from the LAN" in line]
    assert summary.startswith("llmpt: 8.0 MB from the LAN (1 machine, ")
    assert summary.endswith(", 8.0 MB over HTTP)")


def test_the_librarys_own_bar_moves(download: Download, hub: FakeHub, seeder: BlobServer) -> None:
    hub.add("org/model", FILES)
    seeder.contents |= CONTENTS
    script = f"{NO_LIBTORRENT}{ONE}"
    ((done, total, moved),) = download.workstation.run(script, LLMPT_TRACKER=download.tracker.url).result
    assert (done, total, moved) == (len(CONTENTS[A]), len(CONTENTS[A]), True)
    assert hub.byte_gets == 0


def test_when_it_breaks_off_the_hub_gives_only_the_rest(download: Download, hub: FakeHub, seeder: BlobServer) -> None:
    seeder.cut_after = HALF
    download.tracker.redirect_to = lambda: None if seeder.requests else seeder
    run = download()
    assert hub.bytes_sent == len(WEIGHTS) - HALF
    assert any("the LAN broke off (no seeder has it); the rest comes from the Hub" in line for line in run.summary)
    assert not download.workstation.leftovers()


def test_what_was_interrupted_goes_on_where_it_was(download: Download, hub: FakeHub, seeder: BlobServer) -> None:
    """The Hub is gone as well, so the first try fails; the second asks for the rest alone."""
    seeder.cut_after = HALF
    download.tracker.redirect_to = lambda: None if seeder.requests else seeder
    hub.mode.fail_gets_status = 404
    script = DOWNLOAD.format(more="")
    with download.workstation.start(
        str(download.workstation.python), "-c", script, LLMPT_TRACKER=download.tracker.url
    ) as failing:
        failing.communicate(timeout=60)
    assert failing.returncode != 0
    seeder.cut_after, download.tracker.redirect_to = None, lambda: seeder
    download()
    assert [asked.range for asked in seeder.requests] == ["", f"bytes={HALF}-"]


def test_what_the_lan_does_not_have_takes_the_ordinary_path(download: Download, hub: FakeHub, seeder: BlobServer) -> None:
    seeder.contents.clear()
    run = download()
    assert hub.bytes_sent == len(WEIGHTS)
    assert len([asked for asked in download.tracker.requests if "/api/" not in asked.etag]) == 1
    assert not [line for line in run.summary if "from the LAN" in line]
    assert not download.workstation.leftovers()


def test_wrong_bytes_never_reach_the_cache(download: Download, hub: FakeHub, seeder: BlobServer) -> None:
    seeder.contents[ETAG] = b"x" * len(WEIGHTS)
    download()
    assert hub.bytes_sent == len(WEIGHTS)
    assert not download.workstation.leftovers()
