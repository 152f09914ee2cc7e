"""`llmpt doctor` on machines where each thing was broken on purpose: its answer names it, and a remedy."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import threading
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from llmpt.doctor import CHECKS, FAIL, OK, SKIP, WARN, Context, Finding
from llmpt.doctor.disk import file_system
from llmpt.doctor.network import nat
from llmpt.link import versions
from llmpt.tracker.blobs import BlobHttp
from tests.support.lan import BIG, Lan
from tests.support.lockless import GRANTED, lockless
from tests.support.machine import Machine

ROOT = Path(__file__).parents[2]
REPO = "org/doctor"
Answer = dict[str, Any]


@pytest.fixture(scope="module")
def lan(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lan]:
    with Lan(tmp_path_factory.mktemp("lan") / "lan") as running:
        running.hub.add(REPO, {"model.bin": os.urandom(2 * BIG)})
        running.mirror(REPO)
        running.seeded(REPO)
        yield running


@pytest.fixture(scope="module")
def shared_machine(lan: Lan) -> Iterator[Machine]:
    with lan.machine("sick") as machine:
        yield machine


@pytest.fixture
def machine(shared_machine: Machine) -> Machine:
    return shared_machine


@pytest.fixture
def loner(lan: Lan) -> Iterator[Machine]:
    """A machine of this test's own."""
    with lan.machine("loner") as machine:
        yield machine


def look(machine: Machine, check: str, **environ: str) -> Finding:
    """Make one check, on a machine whose environment has been changed."""
    return CHECKS[check](Context(machine.environ | environ))


def findings_of(output: str) -> dict[str, Finding]:
    """Read what `llmpt doctor --json` says."""
    return {row["check"]: Finding(row["outcome"], row["message"], row["remedy"]) for row in json.loads(output)["findings"]}


def assert_named(finding: Finding, outcome: str, *words: str) -> None:
    assert finding.outcome == outcome, finding
    for word in words:
        assert word in finding.message + " → " + finding.remedy, finding
    assert finding.remedy or outcome in (OK, SKIP)


def test_on_a_healthy_machine_nothing_is_wrong_and_the_test_transfer_comes_from_the_lan(machine: Machine) -> None:
    ended = machine.run("-m", "llmpt", "doctor", "--json", check=False)
    findings = findings_of(ended.stdout)
    assert list(findings) == list(CHECKS)
    assert FAIL not in {one.outcome for one in findings.values()}, ended.stdout
    assert ended.returncode == 0
    fine = "settings, libtorrent, hook, tracker, version, clock, announce port, blob port, agent, firewall"
    for name in fine.split(", "):
        assert findings[name].outcome == OK, findings[name]
    assert findings["test transfer"].outcome == OK
    assert "2.1 MB of org/doctor came from" in findings["test transfer"].message
    status = machine.status()
    assert status["downloads"][-1]["bytes_from_lan"] == 2 * BIG
    assert status["seeding"] == []
    assert not Path(status["downloads"][-1]["destination"]).exists()


def test_what_fails_is_shown_with_its_remedy_and_exit_code_1(machine: Machine) -> None:
    ended = machine.run("-m", "llmpt", "doctor", check=False, LLMPT_TRACKER="http://127.0.0.1:9")
    assert ended.returncode == 1
    assert "FAIL  tracker: no connection to http://127.0.0.1:9" in ended.stdout
    assert "→ is the server up" in ended.stdout
    assert "Traceback" not in ended.stderr


# Settings, Python, the hook


def test_the_mode_in_which_questions_are_answered_is_said(machine: Machine) -> None:
    assert "the LAN answers first" in look(machine, "settings").message
    assert "LLMPT_HUB=never" in look(machine, "settings", LLMPT_HUB="never").message
    assert "LLMPT_HUB_DOWN=fail" in look(machine, "settings", LLMPT_HUB_DOWN="fail").message


def test_a_bogus_setting_is_named(machine: Machine) -> None:
    assert_named(look(machine, "settings", LLMPT_STALL_TIMEOUT="soon"), FAIL, "LLMPT_STALL_TIMEOUT='soon'", "config show")
    assert_named(look(machine, "settings", LLMPT_TRACKER=""), FAIL, "no tracker is set", "llmpt join")
    assert look(machine, "tracker", LLMPT_STALL_TIMEOUT="soon").outcome == OK, "the other checks go on"


def test_a_config_file_that_is_not_toml_is_named(machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "llmpt").mkdir()
    (tmp_path / "llmpt" / "config.toml").write_text("tracker: http://server:8000")
    assert_named(look(machine, "settings", XDG_CONFIG_HOME=str(tmp_path)), FAIL, "config.toml is not TOML")
    assert look(machine, "tracker", XDG_CONFIG_HOME=str(tmp_path)).outcome == SKIP


def test_a_hook_that_is_switched_off_is_named(machine: Machine) -> None:
    assert_named(look(machine, "hook", HF_USE_P2P="0"), FAIL, "HF_USE_P2P", "unset")


def test_a_python_without_the_pth_file_is_named(lan: Lan, tmp_path: Path) -> None:
    """llmpt lies on the path, and is not installed."""
    venv.create(tmp_path / "env", with_pip=False)
    path = f"{ROOT / 'client'}:{sysconfig.get_path('purelib')}:{sysconfig.get_path('platlib')}"
    python = tmp_path / "env" / "bin" / "python"
    with Machine("bare", tracker=lan.tracker.url, hub=lan.hub.url, python=python, PYTHONPATH=path) as bare:
        ended = bare.run("-m", "llmpt", "doctor", "--json", check=False)
        assert_named(findings_of(ended.stdout)["hook"], FAIL, "llmpt.pth is not in this environment", "llmpt run")


def test_a_python_that_gets_no_hook_is_named(machine: Machine, tmp_path: Path) -> None:
    """One without the .pth file (as in a zip archive) and with a huggingface_hub that we don't know."""
    library = tmp_path / "huggingface_hub"
    library.mkdir()
    (library / "__init__.py").write_text('__version__ = "9.0"\n')
    (library / "file_download.py").write_text("def download(): ...\n")
    ended = machine.run("-m", "llmpt", "doctor", "--json", check=False, PYTHONPATH=str(tmp_path))
    findings = {
        row["check"]: Finding(row["outcome"], row["message"], row["remedy"]) for row in json.loads(ended.stdout)["findings"]
    }
    assert_named(findings["huggingface_hub"], FAIL, "9.0", "it has no _download_to_tmp_and_move")
    assert_named(findings["hook"], FAIL, "has no hook")


def test_a_python_without_libtorrent_is_named(loner: Machine, tmp_path: Path) -> None:
    (tmp_path / "libtorrent.py").write_text("raise ImportError('no wheel for this platform')\n")
    ended = loner.run("-m", "llmpt", "doctor", "--json", check=False, PYTHONPATH=str(tmp_path))
    findings = {
        row["check"]: Finding(row["outcome"], row["message"], row["remedy"]) for row in json.loads(ended.stdout)["findings"]
    }
    assert_named(findings["libtorrent"], FAIL, "libtorrent cannot be loaded (no wheel for this platform)", "3.10 to 3.13")
    assert_named(findings["agent"], FAIL, "no agent can be talked to")
    assert_named(findings["test transfer"], SKIP, "no agent")


# The tracker


def test_each_way_in_which_a_tracker_can_be_away_is_named(machine: Machine, lan: Lan) -> None:
    with socket.socket() as silent, socket.socket() as closed:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        closed.bind(("127.0.0.1", 0))
        for url, *words in (
            ("http://no-such-host.invalid:8000", "the name of", "cannot be resolved", "DNS"),
            (f"http://127.0.0.1:{closed.getsockname()[1]}", "no connection", "firewall"),
            (f"http://127.0.0.1:{silent.getsockname()[1]}", "accepts the connection and does not answer", "server's log"),
            (lan.hub.url, "is no llmpt tracker", "another program"),
        ):
            assert_named(look(machine, "tracker", LLMPT_TRACKER=url), FAIL, *words)
    assert_named(look(machine, "version", LLMPT_TRACKER="http://127.0.0.1:9"), SKIP)


@contextmanager
def fake_tracker(date: str = "", *, whoami: Answer | None = None, health: Answer | None = None) -> Iterator[str]:
    """A tracker with an empty catalogue that says what it is given to say, with a `Date` of its own."""
    known: dict[str, Answer] = {
        "healthz": health or {"status": "ok", "version": versions.own_version(), "boot_id": "b"},
        "api/v1/torrents": {"torrents": [], "next": None, "boot_id": "b", "announce_port": 9},
    }
    if whoami is not None:
        known["api/v1/whoami"] = whoami

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(known.get(self.path.partition("?")[0].strip("/"), {"error": {"message": "no"}})).encode()
            self.send_response(200 if self.path.partition("?")[0].strip("/") in known else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def date_time_string(self, timestamp: float | None = None) -> str:
            return date or super().date_time_string(timestamp)

        def log_message(self, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def test_a_clock_that_goes_wrong_is_named(machine: Machine) -> None:
    with fake_tracker("Mon, 01 Jan 2018 00:00:00 GMT") as url:
        assert_named(look(machine, "clock", LLMPT_TRACKER=url), WARN, "ahead of the tracker's", "NTP")
    assert look(machine, "clock").outcome == OK


def test_versions_that_do_not_fit_are_named(machine: Machine) -> None:
    newer = {"status": "ok", "version": "7.2.0", "boot_id": "b"}
    whoami = {"address": "127.0.0.1", "reachable": None, "version": "7.2.0", "protocol": 1, "oldest_client": "7.0.0"}
    with fake_tracker(health=newer) as url:
        assert_named(look(machine, "version", LLMPT_TRACKER=url), WARN, "7.2.0 on the server", "the older one, here")
    with fake_tracker(health=newer, whoami=whoami) as url:
        assert_named(look(machine, "version", LLMPT_TRACKER=url), FAIL, "wants 7.0.0 or later", "update llmpt here")
    old = {"status": "ok", "version": "0.0.1", "boot_id": "b"}
    with fake_tracker(health=old) as url:
        assert_named(look(machine, "version", LLMPT_TRACKER=url), WARN, "on the server", "the older one, on the server")


def test_a_closed_announce_port_is_named(machine: Machine) -> None:
    with fake_tracker() as url:  # which says that announces go to port 9
        assert_named(look(machine, "announce port", LLMPT_TRACKER=url), FAIL, "port 9", "open TCP 9")


def test_a_blob_port_that_is_closed_is_named(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        monkeypatch.setattr(BlobHttp, "locate", lambda *_: f"http://127.0.0.1:{port}/blobs/x")
        assert_named(
            look(machine, "blob port"), FAIL, f"port {port}, where a seeder serves files over HTTP", "firewall", "publish"
        )
    monkeypatch.setattr(BlobHttp, "locate", lambda *_: None)
    assert_named(look(machine, "blob port"), SKIP, "over HTTP")


def test_an_empty_catalogue_is_no_failure(loner: Machine) -> None:
    with fake_tracker() as url:
        assert_named(look(loner, "test transfer", LLMPT_TRACKER=url), SKIP, "catalogue is empty")


# The agent and the network


def test_an_agent_that_died_is_named_and_another_is_started(loner: Machine) -> None:
    loner.llmpt("agent", "start")
    loner.kill_agent()
    assert_named(look(loner, "agent"), WARN, "had died", "agent.log")
    assert loner.status()["pid"]


def test_an_agent_that_does_not_answer_is_named(loner: Machine) -> None:
    loner.llmpt("agent", "start")
    pid = loner.status()["pid"]
    os.kill(pid, signal.SIGSTOP)
    try:
        assert_named(look(loner, "agent"), FAIL, "no agent can be talked to", "end its process")
    finally:
        os.kill(pid, signal.SIGCONT)


def test_whether_this_machine_shares_what_it_fetches_is_said(lan: Lan) -> None:
    for share, words in (("on", "fetched once, for all"), ("off", "LLMPT_SHARE=off")):
        with lan.machine("sharer", LLMPT_SHARE=share) as machine:
            machine.llmpt("agent", "start")
            assert_named(look(machine, "sharing"), OK, words)


def test_an_agent_of_another_tracker_is_named(machine: Machine, lan: Lan) -> None:
    machine.llmpt("agent", "start")
    elsewhere = lan.tracker.url.replace("127.0.0.1", "localhost")
    assert_named(look(machine, "agent", LLMPT_TRACKER=elsewhere), FAIL, "not yours", "llmpt agent stop")


def test_a_port_that_others_cannot_reach_is_named(machine: Machine) -> None:
    machine.llmpt("agent", "start")
    whoami = {"address": "127.0.0.1", "reachable": False, "version": "0", "protocol": 1, "oldest_client": "0"}
    with fake_tracker(whoami=whoami) as url:
        assert_named(look(machine, "peer port", LLMPT_TRACKER=url), WARN, "others cannot connect to 127.0.0.1", "LLMPT_PEER_PORT")
        assert look(machine, "NAT", LLMPT_TRACKER=url).outcome == OK


def test_an_agent_that_listens_elsewhere_than_on_the_lan_is_named(loner: Machine) -> None:
    """What a firewall does, as seen from here: the machine's own address refuses its port."""
    with fake_tracker() as url:
        loner.run("-m", "llmpt", "agent", "start", LLMPT_TRACKER=url, LLMPT_BIND="127.0.0.9")
        assert_named(look(loner, "firewall", LLMPT_TRACKER=url), WARN, "does not accept connections", "ufw allow", "LLMPT_BIND")


def test_translated_addresses_are_named_and_wsl_with_its_own_remedy(machine: Machine, tmp_path: Path) -> None:
    whoami = {"address": "10.9.8.7", "reachable": None, "version": "0", "protocol": 1, "oldest_client": "0"}
    (tmp_path / "version").write_text("Linux version 5.15.153.1-microsoft-standard-WSL2 (gcc)")
    with fake_tracker(whoami=whoami) as url:
        assert_named(look(machine, "NAT", LLMPT_TRACKER=url), WARN, "10.9.8.7", "127.0.0.1", "llmpt join")
        assert_named(
            nat(Context(machine.environ | {"LLMPT_TRACKER": url}, proc=tmp_path)), WARN, "WSL2", "networkingMode=mirrored"
        )


def test_a_proxy_that_would_be_asked_for_the_server_is_named(machine: Machine) -> None:
    proxy = {"HTTP_PROXY": "http://proxy:3128"}
    local = {**proxy, "HF_ENDPOINT": "http://127.0.0.1:8000"}
    assert_named(look(machine, "proxies", **local), FAIL, "HTTP_PROXY", "export NO_PROXY=127.0.0.1")
    assert look(machine, "proxies", **local, NO_PROXY="localhost,127.0.0.0/8").outcome == OK
    assert look(machine, "proxies", **proxy, HF_ENDPOINT="").outcome == OK
    assert look(machine, "tracker", **proxy).outcome == OK  # which is asked past the proxy


# Disks


def test_a_cache_that_cannot_be_written_is_named(machine: Machine) -> None:
    assert_named(look(machine, "disk space", HF_HUB_CACHE="/proc/cannot/be/made"), FAIL, "the Hub cache at /proc")


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("mount") is None, reason="only root can mount a file system")
def test_a_full_disk_is_named(machine: Machine, tmp_path: Path) -> None:
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(tmp_path)], capture_output=True, check=False)
    if mounted.returncode != 0:
        pytest.skip("this root may not mount")
    try:
        assert_named(look(machine, "disk space", HF_HUB_CACHE=str(tmp_path)), FAIL, "left", "hf cache prune")
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_cache_on_the_network_is_named(machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "self").mkdir()
    (tmp_path / "self" / "mountinfo").write_text(f"9 1 0:9 / {machine.root} rw - nfs4 nas:/home rw\n")
    assert_named(file_system(Context(machine.environ, proc=tmp_path)), WARN, "nfs4", "not seeded")


@pytest.mark.parametrize(("error", "reason"), [(GRANTED, "granted to several"), (errno.ENOLCK, "No locks available")])
def test_a_cache_whose_file_system_does_not_lock_is_named(
    machine: Machine, tmp_path_factory: pytest.TempPathFactory, error: int, reason: str
) -> None:
    machine.cache.mkdir(parents=True, exist_ok=True)
    shim = lockless(machine.cache, error, library=tmp_path_factory.getbasetemp() / "lockless.so")
    code = "import os; from llmpt.doctor import CHECKS, Context; print(CHECKS['locks'](Context(os.environ)))"
    said = machine.script(code, **shim)
    assert "outcome='warn'" in said
    assert reason in said
    assert reason in machine.run("-m", "llmpt", "status", check=False, **shim).stdout.replace("\n", " ")


# What else is on the machine


def test_another_python_without_the_hook_is_named(machine: Machine, tmp_path: Path) -> None:
    venv.create(tmp_path / "bare", with_pip=False)
    packages = next((tmp_path / "bare").glob("lib/python3*/site-packages"))
    (packages / "huggingface_hub").mkdir()
    hf = tmp_path / "bin" / "hf"
    hf.parent.mkdir()
    hf.write_text(f"#!{tmp_path}/bare/bin/python\n")
    path = f"{hf.parent}:{Path(sys.executable).parent}"
    assert_named(look(machine, "other Pythons", PATH=path), WARN, str(tmp_path / "bare"), "install llmpt there")
    (packages / "llmpt.pth").touch()
    assert look(machine, "other Pythons", PATH=path).outcome == OK


def test_a_container_without_the_hook_is_named(machine: Machine, tmp_path: Path) -> None:
    docker = tmp_path / "docker"
    docker.write_text(
        '#!/bin/sh\ncase "$1 $2" in\n"ps "*) echo a1 trainer; echo b2 database;;\n'
        '"exec a1") echo True False;;\n*) exit 127;;\nesac\n'
    )  # fmt: skip
    docker.chmod(0o755)
    assert_named(look(machine, "containers", PATH=f"{tmp_path}:/bin"), WARN, "trainer", "LLMPT_TRACKER")
    assert "database" not in look(machine, "containers", PATH=f"{tmp_path}:/bin").message
    docker.write_text("#!/bin/sh\necho 'Cannot connect to the Docker daemon' >&2; exit 1\n")
    assert_named(look(machine, "containers", PATH=f"{tmp_path}:/bin"), SKIP, "no docker command")


def test_a_transfer_that_nobody_serves_is_named(loner: Machine, lan: Lan) -> None:
    os.kill(lan.seeder.pid, signal.SIGSTOP)
    try:
        assert_named(look(loner, "test transfer"), FAIL, "org/doctor did not come")
    finally:
        os.kill(lan.seeder.pid, signal.SIGCONT)
