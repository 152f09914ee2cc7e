"""A company's certificate authority is believed where the environment names it, as requests believes it."""

from __future__ import annotations

import http.server
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmpt.hub.asking import HubUnreachable, ask
from llmpt.net.authorities import tls_context


class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"ok": true}')

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ca")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", "key.pem", "-out", "cert.pem"],
        cwd=folder, check=True, capture_output=True,
    )  # fmt: skip
    return folder / "cert.pem"


@pytest.fixture(scope="module")
def server(certificate: Path) -> Iterator[str]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, certificate.with_name("key.pem"))
    with http.server.HTTPServer(("127.0.0.1", 0), Answer) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield f"https://localhost:{server.server_port}/"
        server.shutdown()


@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_a_companys_authority_is_believed(server: str, certificate: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    for either in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(either, raising=False)
    with pytest.raises(HubUnreachable, match="CERTIFICATE_VERIFY_FAILED"):
        ask(server)
    monkeypatch.setenv(name, str(certificate))
    assert ask(server).document == {"ok": True}


def test_a_bundle_that_is_not_there_counts_as_none(tmp_path: Path) -> None:
    ours = tls_context({"REQUESTS_CA_BUNDLE": str(tmp_path / "gone.pem")})
    assert ours.cert_store_stats() == tls_context({}).cert_store_stats()
