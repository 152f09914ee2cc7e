"""The tracker with a certificate of its own."""

from __future__ import annotations

import contextlib
import http.client
import json
import ssl
import subprocess
from pathlib import Path

from tests.support.tracker import TrackerProcess


def test_the_page_and_the_api_come_over_tls_and_name_themselves_so(tmp_path: Path) -> None:
    files = [tmp_path / "server.key", tmp_path / "server.crt"]
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    command += ["-subj", "/CN=server", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(files[0]), "-out", str(files[1])]
    subprocess.run(command, check=True, capture_output=True)
    settings = {"LLMPT_TLS_CERT": str(files[1]), "LLMPT_TLS_KEY": str(files[0])}
    with TrackerProcess(tmp_path / "data", settings=settings) as tracker:
        context = ssl.create_default_context(cafile=str(files[1]))
        connection = http.client.HTTPSConnection("127.0.0.1", tracker.http_port, timeout=5, context=context)
        with contextlib.closing(connection):
            connection.request("GET", "/")
            assert f"https://127.0.0.1:{tracker.http_port}" in connection.getresponse().read().decode()
            connection.request("POST", "/api/v1/lookup", json.dumps({"etags": []}), {"Content-Type": "application/json"})
            assert json.load(connection.getresponse())["torrents"] == []
        plain = http.client.HTTPConnection("127.0.0.1", tracker.http_port, timeout=5)
        with contextlib.closing(plain):
            plain.request("GET", "/healthz")
            assert plain.getresponse().status == 200, "the appliance's own health check"
