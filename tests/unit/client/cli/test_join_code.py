"""An invitation that is read from standard input stands in no list of processes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from llmpt.cli import group
from tests.support.rogue_tracker import RogueTracker


def test_an_invitation_is_read_from_standard_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.delenv("LLMPT_TRACKER", raising=False)
    with RogueTracker() as tracker:
        done = CliRunner().invoke(group, ["join", tracker.url, "--code", "-"], input="llmpt_inv_secret\n")
        assert done.exit_code == 0, done.output
        assert [json.loads(body)["code"] for body in tracker.bodies if body] == ["llmpt_inv_secret"]
        assert "llmpt_inv_secret" not in done.output
        done = CliRunner().invoke(group, ["join", tracker.url, "--code", "-"], input="")
    assert "no invitation in standard input" in str(done.exception)
