"""Trackers that announce themselves by mDNS: real zeroconf on both sides, on the loopback interface."""

from __future__ import annotations

import os
import pty
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from llmpt.core.networks import DEFAULT_PEER_CIDRS, CidrSet
from llmpt.tracker.discovery import Announced, announced, find, own_addresses
from tests.support.machine import quiet_environment
from tests.support.waiting import eventually

LAN = CidrSet.parse(DEFAULT_PEER_CIDRS)
LOOPBACK = ["127.0.0.1"]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def found(name: str, cidrs: CidrSet = LAN, *, look_s: float = 1.0) -> Announced | None:
    """Look for one tracker among whatever else announces itself here."""
    return next((one for one in find(cidrs, look_s=look_s, interfaces=LOOPBACK) if one.name == name), None)


def longer_and_longer() -> Iterator[float]:
    """How long to look: a busy machine answers late."""
    return (float(look_s) for look_s in count(1))


@pytest.mark.alone
def test_a_tracker_that_announces_itself_is_found_until_it_leaves() -> None:
    name = f"box-{os.getpid()}"
    with announced(port=8123, version="0.1.0", addresses=LOOPBACK, name=name, tls=True):
        expected = Announced(name, ("https://127.0.0.1:8123",), "0.1.0")
        looks = longer_and_longer()
        assert eventually(lambda: found(name, look_s=next(looks)), timeout_s=30, what="the announcement") == expected
        assert found(name, CidrSet.parse("10.0.0.0/8")) is None, "an address outside LLMPT_PEER_CIDRS"
    assert found(name) is None


def test_the_addresses_that_are_announced_are_those_that_are_listened_on() -> None:
    assert own_addresses(["127.0.0.1"], LAN) == ["127.0.0.1"]
    assert own_addresses(["192.0.2.77"], LAN) == []
    assert "127.0.0.1" not in own_addresses(["0.0.0.0", "[::]"], LAN)


@pytest.mark.alone
@pytest.mark.parametrize("switch", ["1", "0"])
def test_llmpt_serve_is_found_and_joined_unless_switched_off(tmp_path: Path, switch: str) -> None:
    """`llmpt join` without an address, in a terminal, by a person who says yes."""
    port = free_port()
    (tmp_path / "cache").mkdir()
    environ = quiet_environment() | {
        "HOME": str(tmp_path),
        "LLMPT_DATA": str(tmp_path / "data"),
        "LLMPT_HTTP_PORT": str(port),
        "LLMPT_ANNOUNCE_PORT": "0",
        "LLMPT_PEER_PORT": "0",
        "LLMPT_BLOB_PORT": "0",
        "LLMPT_BIND": "127.0.0.1",
        "LLMPT_DISCOVERY": switch,
    }
    log = tmp_path / "serve.log"
    with log.open("wb") as out:
        command = [sys.executable, "-m", "llmpt", "serve", "--cache", str(tmp_path / "cache")]
        server = subprocess.Popen(command, env=environ, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    try:
        eventually(lambda: answers(port), timeout_s=40, what=f"the server\n{log.read_text()}")
        url = f"http://127.0.0.1:{port}"
        if switch == "0":
            assert url not in announced_urls()
            return
        looks = longer_and_longer()
        eventually(lambda: url in announced_urls(next(looks)), timeout_s=30, what="the announcement")
        config = tmp_path / ".config" / "llmpt" / "config.toml"
        unasked = subprocess.run(
            [sys.executable, "-m", "llmpt", "join"],
            env=environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert unasked.returncode == 1
        assert "only you can know" in unasked.stderr
        assert not config.exists()
        said = in_a_terminal("y\n", environ, "join")
        assert f"{url} (llmpt" in said
        assert "What happens next" in said
        assert url in config.read_text()
    finally:
        server.send_signal(signal.SIGTERM)
        assert server.wait(40) == 0


def announced_urls(look_s: float = 1.0) -> set[str]:
    return {url for one in find(LAN, look_s=look_s, interfaces=LOOPBACK) for url in one.urls}


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def in_a_terminal(typed: str, environ: dict[str, str], *arguments: str) -> str:
    """Run `llmpt` with a terminal for its stdin; return all that it printed."""
    mine, its = pty.openpty()
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "llmpt", *arguments], env=environ, stdin=its, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        os.write(mine, typed.encode())
        out, _ = process.communicate(timeout=60)
        return out.decode()
    finally:
        os.close(mine)
        os.close(its)
