"""The file of known servers where no file can be: in a home that is none, or another user's."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from llmpt.core.errors import SettingError
from llmpt.settings.known_servers import KnownServers

LOOK = "import sys; from pathlib import Path; from llmpt.settings.known_servers import KnownServers as K\n"
LOOK += "print(K(Path(sys.argv[1])).all())"


def as_others_may(code: str, *arguments: str) -> str:
    """Run a Python that may enter no closed folder, as root may."""
    command = [sys.executable, "-c", code, *arguments]
    if os.geteuid() == 0:
        command[:0] = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all"]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False).stdout.strip()


def test_a_home_that_is_none_knows_no_server(tmp_path: Path) -> None:
    assert KnownServers(Path("/dev/null/.config/known-servers.json")).all() == []
    closed = tmp_path / "closed"
    closed.mkdir()
    closed.chmod(0)
    assert as_others_may(LOOK, str(closed / "known-servers.json")) == "[]"
    closed.chmod(0o700)


def test_a_file_that_is_there_and_cannot_be_read_is_no_reason_to_believe_anybody(tmp_path: Path) -> None:
    file = tmp_path / "known-servers.json"
    file.touch()
    file.chmod(0)
    assert as_others_may(LOOK, str(file)) == ""
    file.unlink()
    file.mkdir()
    with pytest.raises(SettingError, match="cannot be read"):
        KnownServers(file).all()
