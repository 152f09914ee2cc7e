"""An agent is started on first need, and only one, however many ask at once."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmpt.core.errors import AgentUnavailable
from llmpt.link.answers import Stopping
from llmpt.link.client import AgentClient
from llmpt.link.requests import Stop
from llmpt.link.timings import LinkTimings
from llmpt.settings import ClientSettings
from tests.support.environments import environment
from tests.support.hub import FakeHub
from tests.support.waiting import eventually
from tests.support.workstation import Workstation

# A tiny agent: notes that it was started, answers every fetch with a refusal, ends when told to, or after a minute.
STUB = """
import os, socket, sys, threading
from llmpt.link import paths
from llmpt.link.protocol import LineReader, encode
with open(sys.argv[1], "a") as starts:
    starts.write(f"{os.getpid()}\\n")
path = paths.socket_path(os.environ)
listener = socket.socket(socket.AF_UNIX)
listener.bind(str(path))
listener.listen(64)
if os.fork():
    os._exit(0)
threading.Timer(60, os._exit, [1]).start()
while True:
    connection, _ = listener.accept()
    with connection:
        try:
            asked = LineReader(connection).read(timeout_s=5)
        except OSError:
            continue
        if asked and asked["op"] == "stop":
            connection.sendall(encode({"event": "stopping"}))
            path.unlink()
            os._exit(0)
        if asked:
            connection.sendall(encode({"event": "refused", "reason": os.environ["LLMPT_TRACKER"]}))
"""
EIGHT_AT_ONCE = """
import json, os, sys, threading
from pathlib import Path
from llmpt.link.client import AgentClient
from llmpt.core.blob import Etag
from llmpt.core.files import FileId
from llmpt.core.repo import RepoPath, RepoRef
from llmpt.link.requests import FetchRequest
from llmpt.settings import ClientSettings
link = AgentClient(ClientSettings.read(), environ=os.environ, start_command=json.loads(sys.argv[1]))
request = FetchRequest(
    "http://t", Etag("a" * 64), 5, RepoRef("model", "org/m"), "main", RepoPath("f"), Path("/p"), FileId(1, 2), Path("/d"), False,
)
outcomes = []
def ask():
    outcomes.append(link.fetch(request, on_progress=print).reason)
threads = [threading.Thread(target=ask) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(json.dumps(outcomes))
"""


@pytest.fixture
def machine(hub: FakeHub) -> Iterator[Workstation]:
    machine = Workstation(environment("2.4.0"), hub)
    yield machine
    machine.close()


def start_command(machine: Workstation, stub: str) -> list[str]:
    return [str(machine.python), "-c", stub, str(machine.home / "starts")]


def starts(machine: Workstation) -> int:
    path = machine.home / "starts"
    return len(path.read_text().splitlines()) if path.exists() else 0


def test_concurrent_first_calls_start_one_agent(machine: Workstation) -> None:
    command = json.dumps(start_command(machine, STUB))
    processes = [
        machine.start(str(machine.python), "-c", EIGHT_AT_ONCE, command, LLMPT_TRACKER="http://chosen:8000") for _ in range(3)
    ]
    try:
        for process in processes:
            out, err = process.communicate(timeout=60)
            assert json.loads(out) == ["http://chosen:8000"] * 8, err
        assert starts(machine) == 1
    finally:
        link = AgentClient(ClientSettings.read(machine.environ), environ=machine.environ)
        assert link.ask(Stop()) == Stopping()
        eventually(lambda: not (machine.runtime / "llmpt" / "agent.sock").exists(), what="the stub's end")


def test_a_start_that_fails_is_tried_once_for_all_who_ask_together(machine: Workstation) -> None:
    stub = "import sys, time; open(sys.argv[1], 'a').write('x\\n'); time.sleep(0.5); sys.exit('no port is free')"
    command = json.dumps(start_command(machine, stub))
    with machine.start(str(machine.python), "-c", EIGHT_AT_ONCE, command) as process:
        out, err = process.communicate(timeout=60)
    reasons = json.loads(out)
    assert starts(machine) == 1
    assert len(reasons) == 8
    assert "no port is free" in reasons
    assert err.count("llmpt has no agent: no port is free; files come over HTTP") == 1


def test_an_agent_that_hangs_at_its_start_is_ended(machine: Workstation) -> None:
    stub = "import os, sys, time; open(sys.argv[1], 'w').write(str(os.getpid())); time.sleep(60)"
    settings = ClientSettings.read(machine.environ)
    command = [sys.executable, "-c", stub, str(machine.home / "starts")]
    client = AgentClient(settings, environ=machine.environ, start_command=command, timings=LinkTimings(start_s=0.5))
    with pytest.raises(AgentUnavailable, match=r"not ready within 0\.5 s"):
        client.status(start=True)
    pid = int(Path(machine.home / "starts").read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
