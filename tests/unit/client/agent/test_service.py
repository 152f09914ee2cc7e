"""The service that docs/workstations.md shows is one that systemd would run."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[4] / "docs/workstations.md"


@pytest.fixture
def unit() -> str:
    [found] = re.findall(r"^```ini\n(\[Unit\].*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return str(found)


def test_the_service_runs_the_agent_and_starts_no_other_when_it_has_ended_well(unit: str) -> None:
    parser = configparser.RawConfigParser()
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read_string(unit)
    assert parser["Service"]["ExecStart"].endswith("/bin/llmpt agent run")
    assert parser["Service"]["Restart"] == "on-failure"  # an agent that has made room for a newer one is not wanted back
    assert parser["Install"]["WantedBy"] == "default.target"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="this system has no systemd")
def test_systemd_finds_nothing_wrong_with_it(unit: str, tmp_path: Path) -> None:
    program = Path(sys.executable)  # its path is the user's to fill in; this one exists
    path = tmp_path / "llmpt-agent.service"
    path.write_text(unit.replace("%h/llmpt/bin/llmpt", str(program)))
    verified = subprocess.run(["systemd-analyze", "--user", "verify", str(path)], capture_output=True, text=True, timeout=30)
    complaints = [line for line in verified.stderr.splitlines() if "llmpt-agent" in line]
    assert complaints == []
