"""The tracker with a certificate of its own."""

from __future__ import annotations

import contextlib
import http.client
import json
import ssl
import subprocess
from pathlib import Path

from llmpt.identity.keys import ServerKey
from tests.support.certificates import Authority, digest
from tests.support.machine import Machine
from tests.support.tracker import TrackerProcess
from tests.support.waiting import eventually


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


def test_join_takes_a_certificate_and_the_one_after_it_on_the_word_of_the_servers_key(tmp_path: Path) -> None:
    """No authority vouches for it, and no terminal is there to be asked: the fingerprint of the server's key says enough."""
    authority = Authority(tmp_path, "nobodys")
    used = authority.certificate("used.pem", self_signed=True)
    with (
        TrackerProcess(tmp_path / "data", settings={"LLMPT_TLS_CERT": str(used)}) as tracker,
        Machine("ann", tracker=None, hub="http://127.0.0.1:9") as ann,
    ):
        url = f"https://localhost:{tracker.http_port}"
        fingerprint = str(ServerKey.read(tracker.data / "server.key").public.fingerprint)
        refused = ann.run("-m", "llmpt", "join", url, check=False)
        assert (refused.returncode, digest(used) in refused.stderr, "--fingerprint" in refused.stderr) == (1, True, True)
        ann.llmpt("join", url, "--fingerprint", fingerprint)
        ann.llmpt("ls")

        renewed = authority.certificate("renewed.pem", self_signed=True)
        used.write_bytes(renewed.read_bytes())
        eventually(lambda: "join again" in ann.run("-m", "llmpt", "ls", check=False).stderr, what="the new one to be shown")
        # For a second a process of the tracker may show the old one still.
        eventually(lambda: ann.run("-m", "llmpt", "join", url, check=False).returncode == 0, what="to have joined again")
        ann.llmpt("ls")
        known = json.loads((ann.root / ".config" / "llmpt" / "known-servers.json").read_bytes())["servers"]
        assert [one["certificate"] for one in known] == [digest(renewed)]
