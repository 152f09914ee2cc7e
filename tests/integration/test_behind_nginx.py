"""Behind nginx, with TLS and below a path: a real nginx, tracker, seeder, and the clients that page, paste and download."""

from __future__ import annotations

import json
import os
import shutil
import ssl
import subprocess
import textwrap
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmpt.net.authorities import Trust
from llmpt.tracker.wire import Wire
from tests.support import nginx
from tests.support.lan import BIG, Lan
from tests.support.ports import free_ports
from tests.support.waiting import eventually

PREFIX = "/llmpt"
ANNOUNCE_URL = f"https://hub.example.com{PREFIX}/announce"

CONFIG = """
    server {{
        listen 127.0.0.1:{port} ssl;
        ssl_certificate {root}/cert.pem; ssl_certificate_key {root}/key.pem;
        location {prefix}/ {{
            proxy_pass {tracker}/;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_set_header X-Forwarded-Host $http_host;
            proxy_set_header X-Forwarded-Prefix {prefix};
        }}
        location {prefix}/announce {{
            proxy_pass http://{announcer}/announce;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        }}
    }}
"""


@pytest.fixture(scope="module")
def shared_lan(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lan]:
    with Lan(
        tmp_path_factory.mktemp("lan") / "lan", LLMPT_TRUSTED_PROXIES="127.0.0.1", LLMPT_ANNOUNCE_URL=ANNOUNCE_URL
    ) as running:
        yield running


@pytest.fixture
def proxy(shared_lan: Lan, tmp_path: Path) -> Iterator[str]:
    """The address of a proxy in front of the tracker."""
    if nginx.PROGRAM is None or shutil.which("openssl") is None:
        pytest.skip("needs nginx and openssl (Debian: apt-get install nginx-light openssl)")
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    made = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "1",
        *names,
        "-keyout",
        "key.pem",
        "-out",
        "cert.pem",
    ]
    subprocess.run(made, cwd=tmp_path, check=True, capture_output=True)
    (port,) = free_ports(1)
    tracker = shared_lan.tracker
    announcer = f"{tracker.host}:{tracker.announce_port}"
    config = CONFIG.format(root=tmp_path, port=port, prefix=PREFIX, tracker=tracker.url, announcer=announcer)
    with nginx.running(tmp_path / "nginx", config):
        url = f"https://127.0.0.1:{port}{PREFIX}"
        eventually(lambda: said(url + "/healthz", tmp_path), what="nginx to answer")
        yield url


def said(url: str, root: Path) -> str:
    context = ssl.create_default_context(cafile=str(root / "cert.pem"))
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    try:
        with opener.open(url, timeout=5) as answer:
            text: str = answer.read().decode("latin-1")
            return f"{answer.headers.get('Link', '')}\n{text}"
    except OSError:
        return ""


def test_what_is_handed_out_leads_through_the_proxy(lan: Lan, proxy: str, tmp_path: Path) -> None:
    for name in ("one", "two"):
        lan.hub.add(f"org/{name}", {"model.bin": os.urandom(BIG), "config.json": b"{}"})
        lan.mirror(f"org/{name}")
        (found,) = lan.seeded(f"org/{name}")
    eventually(lambda: len(json.loads(said(proxy + "/api/models", tmp_path).split("\n", 1)[1])) == 2, what="both repos")
    link, body = said(proxy + "/api/models?limit=1", tmp_path).split("\n", 1)
    assert link.startswith(f"<{proxy}/api/models?")
    following = said(link.partition("<")[2].partition(">")[0], tmp_path).split("\n", 1)[1]
    assert {one["id"] for one in json.loads(body) + json.loads(following)} == {"org/one", "org/two"}
    assert f"llmpt join {proxy}" in said(proxy + "/", tmp_path)
    assert Wire(proxy, trust=Trust(ca=str(tmp_path / "cert.pem"))).lives(5.0)
    torrent = said(f"{proxy}/api/v1/torrents/{found.info_hash}.torrent", tmp_path)
    assert f"{proxy}/blobs/" in torrent
    assert f"8:announce{len(ANNOUNCE_URL)}:{ANNOUNCE_URL}7:" in torrent
    assert "http://" not in torrent
    swarm = "".join(f"%{digit}" for digit in textwrap.wrap(found.info_hash[:40], 2))
    about = "peer_id=-LT2110-000000000000&port=6999&uploaded=0&downloaded=0&left=1&event=started"
    assert "8:interval" in said(f"{proxy}/announce?info_hash={swarm}&{about}", tmp_path)
    assert len(said(f"{proxy}/org/two/resolve/main/model.bin", tmp_path)) > BIG


def test_huggingface_hub_pages_through_the_proxy_and_downloads(lan: Lan, proxy: str, tmp_path: Path) -> None:
    lan.hub.add("org/three", {"model.bin": os.urandom(BIG)})
    lan.mirror("org/three")
    lan.seeded("org/three")
    code = """
        from huggingface_hub import HfApi, hf_hub_download
        hf_hub_download("org/three", "model.bin")
        print(len(list(HfApi().list_models(limit=3))))
    """
    with lan.machine("ann", SSL_CERT_FILE=str(tmp_path / "cert.pem"), REQUESTS_CA_BUNDLE=str(tmp_path / "cert.pem")) as ann:
        assert ann.script(textwrap.dedent(code), HF_ENDPOINT=proxy, HF_USE_P2P="0").split()[-1] in ("1", "2", "3")
