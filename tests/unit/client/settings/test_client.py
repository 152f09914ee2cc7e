"""A workstation's settings: their defaults, where they come from, and what is said about a wrong one."""

from __future__ import annotations

from datetime import time
from pathlib import Path

import pytest

from llmpt.core.errors import SettingError
from llmpt.settings import ClientSettings


def read(tmp_path: Path, **environ: str) -> ClientSettings:
    return ClientSettings.read({"XDG_CONFIG_HOME": str(tmp_path), **environ})


def test_without_any_setting_nothing_is_asked_of_the_lan(tmp_path: Path) -> None:
    settings = read(tmp_path)
    assert settings.tracker is None
    assert settings.use_p2p
    assert (settings.min_blob_bytes, settings.stall_timeout_s, settings.peer_port) == (1 << 20, 5.0, 6882)
    assert (settings.bind, settings.upload_limit.at(time(12)), settings.quiet) == (("0.0.0.0", "[::]"), 0, False)


def test_the_environment_wins_over_the_users_file(tmp_path: Path) -> None:
    (tmp_path / "llmpt").mkdir()
    (tmp_path / "llmpt" / "config.toml").write_text('LLMPT_TRACKER = "http://file:8000"\nLLMPT_STALL_TIMEOUT = 9\n')
    assert read(tmp_path).tracker == "http://file:8000"
    settings = read(tmp_path, LLMPT_TRACKER="http://shell:8000/")
    assert (settings.tracker, settings.stall_timeout_s) == ("http://shell:8000", 9.0)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LLMPT_TRACKER", "server:8000"),
        ("LLMPT_TRACKER", "http://user@server"),
        ("HF_USE_P2P", "maybe"),
        ("LLMPT_MIN_BLOB_BYTES", "lots"),
        ("LLMPT_STALL_TIMEOUT", "0"),
        ("LLMPT_STALL_TIMEOUT", "nan"),
        ("LLMPT_PEER_PORT", "70000"),
        ("LLMPT_PEER_CIDRS", "lan"),
    ],
)
def test_a_wrong_value_is_named_with_what_would_be_right(tmp_path: Path, name: str, value: str) -> None:
    with pytest.raises(SettingError, match=name):
        read(tmp_path, **{name: value})


def test_sharing_and_limits_are_set_in_words(tmp_path: Path) -> None:
    settings = read(tmp_path, LLMPT_SHARE="off", LLMPT_UPLOAD_LIMIT="10M@08:00-18:00,0", LLMPT_DOWNLOAD_LIMIT="50M")
    assert not settings.share
    assert settings.upload_limit.at(time(9)) == 10 << 20
    assert settings.download_limit.at(time(9)) == 50 << 20
    with pytest.raises(SettingError, match=r"LLMPT_UPLOAD_LIMIT='fast' cannot be used: .*10M@08:00-18:00,0"):
        read(tmp_path, LLMPT_UPLOAD_LIMIT="fast")
