"""What `llmpt agent` says of an agent that comes and goes."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from llmpt.link import protocol
from llmpt.link.protocol import LineReader


@pytest.mark.parametrize(("answers", "said"), [(1, "stopped"), (0, "no agent is running")])
def test_an_agent_that_ends_before_it_can_say_so_was_stopped(tmp_path: Path, answers: int, said: str) -> None:
    """It answers so many questions, and hangs up at the next."""
    folder = tmp_path / "llmpt"
    folder.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(folder / "agent.sock"))
        listening.listen()
        threading.Thread(target=_answer, args=(listening, answers), daemon=True).start()
        command = [sys.executable, "-m", "llmpt", "agent", "stop"]
        environ = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path), "HOME": str(tmp_path), "LLMPT_TRACKER": "http://127.0.0.1:9"}
        ended = subprocess.run(command, env=environ, capture_output=True, text=True, check=True, timeout=60)
    assert ended.stdout.strip() == said


def _answer(listening: socket.socket, answers: int) -> None:
    for number in range(answers + 1):
        connection, _ = listening.accept()
        with connection:
            LineReader(connection).read(timeout_s=5, any_version=True)
            if number < answers:
                connection.sendall(protocol.encode({"event": "status", "pid": os.getpid()}))
