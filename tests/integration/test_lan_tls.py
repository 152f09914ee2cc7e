"""A LAN whose server speaks TLS on both ports, with a certificate that only the lab's own authority vouches for."""

from __future__ import annotations

import contextlib
import http.client
import random
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.certificates import Authority, digest
from tests.support.lan import Lan
from tests.support.machine import Machine
from tests.support.seeder import SeederProcess
from tests.support.waiting import eventually

REPO = "org/model"
FILES = {"model.bin": random.Random(1).randbytes((16 << 20) + 17), "config.json": b'{"a": 1}'}  # large enough for HTTP beside
DOWNLOAD = f"from huggingface_hub import snapshot_download\nprint(snapshot_download({REPO!r}))"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"), "lab")


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[Lan]:
    certificate = authority.certificate("server.pem")
    with Lan(tmp_path_factory.mktemp("lan") / "lan", LLMPT_TLS_CERT=str(certificate)) as running:
        running.hub.add(REPO, FILES)
        running.mirror(REPO)
        running.seeded(REPO)
        yield running


def https(lan: Lan) -> str:
    return f"https://localhost:{lan.tracker.http_port}"


@contextlib.contextmanager
def machine(lan: Lan, **environ: str) -> Iterator[Machine]:
    lan.hub.forget()
    with Machine("ann", tracker=https(lan), hub=lan.hub.url, python=None, **environ) as ann:
        yield ann


def came(ann: Machine) -> bool:
    (blob,) = ann.cache.glob("models--*/snapshots/*/model.bin")
    return blob.read_bytes() == FILES["model.bin"]


def test_a_redirect_leads_to_the_seeders_https(secure: Lan, authority: Authority) -> None:
    etag = secure.hub.file(REPO, "model.bin").etag
    context = ssl.create_default_context(cafile=str(authority.file))
    with contextlib.closing(http.client.HTTPSConnection("localhost", secure.tracker.http_port, context=context)) as asked:
        asked.request("HEAD", f"/blobs/{etag}")
        place = asked.getresponse().headers["Location"]
    assert place.startswith("https://localhost:")
    assert place.endswith(f"/blobs/{etag}")


def test_the_agent_downloads_by_bittorrent_and_by_https_with_the_labs_authority(secure: Lan, authority: Authority) -> None:
    with machine(secure, LLMPT_CA=str(authority.file)) as ann:
        done = ann.run("-c", DOWNLOAD)
        assert came(ann)
        assert "over HTTP" in done.stderr, ann.agent_log()
    assert secure.hub.gets("model.bin") == 0


def test_a_machine_without_libtorrent_downloads_by_https(secure: Lan, authority: Authority) -> None:
    with machine(secure, LLMPT_CA=str(authority.file)) as ann:
        done = ann.run("-c", f"import sys; sys.modules['libtorrent'] = None\n{DOWNLOAD}")
        assert came(ann)
        assert "over HTTP" in done.stderr
    assert secure.hub.gets("model.bin") == 0


def test_a_program_without_a_hook_downloads_from_the_servers_https(secure: Lan, authority: Authority) -> None:
    own = dict.fromkeys(("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"), str(authority.file))
    with machine(secure, **own, HF_ENDPOINT=https(secure), HF_USE_P2P="0") as ann:
        ann.run("-c", DOWNLOAD)
        assert came(ann)
    assert secure.hub.gets("model.bin") == 0


def test_with_a_certificate_that_join_pinned_a_download_comes_by_bittorrent(secure: Lan, authority: Authority) -> None:
    with machine(secure) as ann:
        ann.llmpt("join", https(secure), "--certificate", digest(authority.folder / "server.pem"))
        ann.run("-c", DOWNLOAD)
        assert came(ann)
    assert secure.hub.gets("model.bin") == 0


def test_a_seeder_elsewhere_asks_the_tracker_by_https_with_the_labs_authority(
    secure: Lan, authority: Authority, tmp_path: Path
) -> None:
    told = {"LLMPT_TOKEN": secure.tracker.token, "LLMPT_CA": str(authority.file)}
    with SeederProcess(tmp_path / "other", secure.cache, tracker=https(secure), hub=secure.hub.url, **told) as other:
        eventually(lambda: f"the tracker {https(secure)} answers" in other.log.read_text(), timeout_s=30, what="its heartbeat")
