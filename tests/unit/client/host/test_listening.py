"""Listening on addresses, and room for clients."""

from __future__ import annotations

import resource
import socket
import subprocess
import sys

import pytest

from llmpt.core.errors import SettingError
from llmpt.host.listening import listen_on

RAISE = """
import resource
from llmpt.host.listening import raise_descriptor_limit
resource.setrlimit(resource.RLIMIT_NOFILE, (100, 300))
for wanted in (200, 50, 5000, None):
    raise_descriptor_limit(wanted)
    print(*resource.getrlimit(resource.RLIMIT_NOFILE))
"""


def test_all_addresses_have_one_port() -> None:
    listening = listen_on(("127.0.0.1", "::"), 0, setting="LLMPT_X_PORT")
    try:
        assert len({sock.getsockname()[1] for sock in listening}) == 1
        with socket.create_connection(("127.0.0.1", listening[0].getsockname()[1]), timeout=5):
            pass
    finally:
        for sock in listening:
            sock.close()


@pytest.mark.parametrize("address", ["127.0.0.1", "192.0.2.1"], ids=["taken", "not ours"])
def test_what_cannot_be_had_is_named_with_its_settings(address: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SettingError, match=rf"cannot listen on {address} port {port}: .*LLMPT_BIND, LLMPT_X_PORT"):
            listen_on((address,), port, setting="LLMPT_X_PORT")


@pytest.mark.skipif(resource.getrlimit(resource.RLIMIT_NOFILE)[1] < 300, reason="this system allows too few files")
def test_the_limit_of_descriptors_is_raised_as_far_as_wanted_and_allowed_and_never_lowered() -> None:
    told = subprocess.run([sys.executable, "-c", RAISE], capture_output=True, text=True, check=True).stdout
    assert told.splitlines() == ["200 300", "200 300", "300 300", "300 300"]
