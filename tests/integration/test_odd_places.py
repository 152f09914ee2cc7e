"""Places where a client runs badly: it takes what the LAN has, and says once, in one line, what it cannot have and why."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.certificates import Authority
from tests.support.hub import Mode
from tests.support.lan import BIG, Lan
from tests.support.machine import Machine
from tests.support.namespaces import python_with
from tests.support.relay import Relay

REPO = "org/odd"
FILES = {f"model-{number}.bin": os.urandom(BIG + number) for number in range(3)}
# Everything in the LAN, each file at its first try: seconds for each of them would show.
DOWNLOAD = f"""
import time
from huggingface_hub import hf_hub_download
for number in range({len(FILES)}):
    began = time.monotonic()
    path = hf_hub_download({REPO!r}, f"model-{{number}}.bin")
    print(time.monotonic() - began, path)
"""
# Root may enter every folder, unless it has given up the right to.
AS_OTHERS_MAY = "setpriv --bounding-set=-dac_override,-dac_read_search --inh-caps=-all"
ONE_AGENT_LESS = "llmpt has no agent: "


@pytest.fixture(scope="module")
def shared_lan(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lan]:
    with Lan(tmp_path_factory.mktemp("lan") / "lan") as running:
        running.hub.add(REPO, FILES)
        running.mirror(REPO)
        running.seeded(REPO)
        yield running


@pytest.fixture
def ann(lan: Lan) -> Iterator[Machine]:
    lan.hub.mode = Mode(refuse_bytes_over=BIG)  # what arrives here came from the LAN
    with lan.machine("ann") as machine:
        yield machine


def download(machine: Machine, **environ: str) -> tuple[list[float], str]:
    """Download all with a program of its own; return how long each file took, and what was said on stderr."""
    ended = machine.run("-c", DOWNLOAD, check=True, **environ)
    assert "Traceback" not in ended.stderr
    rows = [line.split() for line in ended.stdout.splitlines()]
    assert [Path(path).read_bytes() for _, path in rows] == list(FILES.values())
    return [float(seconds) for seconds, _ in rows], ended.stderr


def test_a_home_that_cannot_be_entered_is_no_home(ann: Machine) -> None:
    closed = ann.root / "closed"
    closed.mkdir()
    setup = f'mount -t tmpfs none /var/tmp\nexec {AS_OTHERS_MAY} {shlex.quote(sys.executable)} "$@"'
    ann.python = python_with(setup, ann.root / "python")
    closed.chmod(0)
    try:
        _, said = download(ann, HOME=str(closed))
        assert ONE_AGENT_LESS not in said
        assert "llmpt: 3.1 MB from the LAN" in said
        assert ann.agent_log().count("ready at") == 1
        assert "Traceback" not in ann.agent_log()
    finally:
        closed.chmod(0o700)


def test_a_root_that_is_read_only_and_has_no_temporary_folder_takes_the_lan_over_http(ann: Machine) -> None:
    ann.hf_home.mkdir()
    setup = f"mount --bind {ann.hf_home} {ann.hf_home}\nmount -o remount,bind,ro /\nmount -t tmpfs -o ro none /dev/shm"
    ann.python = python_with(setup, ann.root.parent / f"{ann.root.name}.python")
    del ann.environ["XDG_RUNTIME_DIR"]
    try:
        _, said = download(ann, PYTHONDONTWRITEBYTECODE="1")
    finally:
        ann.python.unlink()
        ann.python = Path(sys.executable)
        ann.environ["XDG_RUNTIME_DIR"] = str(ann.root / "run")
    assert said.count(ONE_AGENT_LESS) == 1
    assert "; files come over HTTP" in said
    assert "3.1 MB over HTTP" in said
    assert list(ann.hf_home.rglob("*.incomplete")) == []


@pytest.mark.parametrize("elsewhere", [False, True], ids=["alone", "beside an environment"])
def test_a_frozen_application_is_not_started_a_second_time(ann: Machine, elsewhere: bool) -> None:
    application, starts = ann.root / "application", ann.root / "starts"
    code = f"import sys; sys.frozen, sys.executable = True, {str(application)!r}\n{DOWNLOAD}"
    application.write_text(f"#!/bin/sh\necho started >>{starts}\nexec {sys.executable} -c {shlex.quote(code)}\n")
    application.chmod(0o755)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}" if elsewhere else "/usr/bin:/bin"
    with ann.start("-c", f"import os; os.execv({str(application)!r}, ['application'])", PATH=path) as process:
        out, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert [Path(line.split()[1]).read_bytes() for line in out.splitlines()] == list(FILES.values())
    assert starts.read_text() == "started\n"
    assert said.count(ONE_AGENT_LESS) == (0 if elsewhere else 1)
    assert ann.agent_log().count("ready at") == (1 if elsewhere else 0)
    assert ("3.1 MB over HTTP" in said) is not elsewhere
    assert "Traceback" not in said


def test_a_container_under_another_name_goes_on_seeding_with_the_token_it_had(ann: Machine) -> None:
    def container(name: str) -> Path:
        inner = f'hostname {name}; exec {shlex.quote(sys.executable)} "$@"'
        return python_with(f'exec unshare --uts sh -c {shlex.quote(inner)} sh "$@"', ann.root / name)

    ann.python = container("0123456789ab")
    download(ann)
    ann.kill_agent()
    ann.python = container("ba9876543210")
    ann.llmpt("agent", "start")
    assert len(ann.status()["seeding"]) == len(FILES)
    states = ann.root / ".local" / "state" / "llmpt"
    assert [path.name for path in states.iterdir()] == ["ba9876543210"]
    assert len(list(states.rglob("*.token"))) <= 1


def test_an_agent_believes_the_authority_that_requests_believes(lan: Lan, ann: Machine, tmp_path: Path) -> None:
    authority = Authority(tmp_path, "company")
    to = ("127.0.0.1", lan.tracker.http_port)
    with Relay(to, certificate=authority.certificate("server.pem")) as way:
        ann.environ |= {"LLMPT_TRACKER": f"https://localhost:{way.port}", "REQUESTS_CA_BUNDLE": str(authority.file)}
        _, said = download(ann)
        assert "llmpt: 3.1 MB from the LAN" in said
        assert "over HTTP" not in said
        ann.stop_agent()


def test_where_stderr_is_closed_stdout_stays_the_programs_own(ann: Machine) -> None:
    code = DOWNLOAD.replace("print(time.monotonic() - began, path)", "print(open(path, 'rb').seek(0, 2))")
    shell = 'exec "$0" -c "$1" 2>&-'
    ended = ann.run("-c", "import os, sys; os.execv('/bin/sh', ['sh', '-c', *sys.argv[1:]])", shell, sys.executable, code)
    assert (ended.stdout, ended.stderr) == ("".join(f"{len(content)}\n" for content in FILES.values()), "")
    assert [row["outcome"] for row in ann.status()["downloads"]] == ["done"] * len(FILES)
