"""`LLMPT_HUB=never` without a tracker that answers: one short wait, and an error that says what to do."""

from __future__ import annotations

import json
import socket

import pytest

from tests.contract.conftest import HUB_VERSIONS
from tests.support.environments import environment
from tests.support.hub import FakeHub
from tests.support.machine import Machine

PROGRAM = """
import json, time
from huggingface_hub import HfApi, hf_hub_download, snapshot_download
said = []
for ask in (
    lambda: hf_hub_download("org/model", "config.json"),
    lambda: hf_hub_download("org/model", "other.json", revision="a" * 40),
    lambda: snapshot_download("org/model"),
    lambda: HfApi().repo_info("org/model"),
):
    began = time.monotonic()
    try:
        ask()
    except Exception as error:
        words = []
        while error is not None:
            words.append(str(error))
            error = error.__cause__ or error.__context__
        said.append([time.monotonic() - began, " ".join(words)])
print(json.dumps(said))
"""


@pytest.mark.parametrize("version", HUB_VERSIONS)
@pytest.mark.parametrize("is_silent", [True, False])
def test_a_tracker_out_of_action_is_waited_for_once_and_named(version: str, is_silent: bool) -> None:
    with socket.socket() as place, FakeHub() as hub:
        place.bind(("127.0.0.1", 0))
        if is_silent:
            place.listen(128)
        tracker = f"http://127.0.0.1:{place.getsockname()[1]}"
        with Machine("alone", tracker=tracker, hub=hub.url, python=environment(version), LLMPT_HUB="never") as machine:
            said = json.loads(machine.run("-c", PROGRAM).stdout.splitlines()[-1])
        assert not [one for one in hub.requests if "agent-harnesses" not in one.raw_path]
    assert len(said) == 4
    for _, words in said:
        assert "LLMPT_HUB=never leaves no other source" in words
    seconds = [seconds for seconds, _ in said]
    assert max(seconds[1:]) < 2, seconds  # the library tries again for 24 s what it takes for a connection that fails
    assert seconds[0] < 8, seconds
