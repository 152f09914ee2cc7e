"""What a program may call, and that these names stay."""

from __future__ import annotations

import inspect

import pytest

import llmpt
from llmpt.core.errors import SettingError
from llmpt.hook import patch
from llmpt.tracker import client as tracker_client


def test_these_names_are_public() -> None:
    assert sorted(llmpt.__all__) == ["Torrent", "TrackerClient", "__version__", "disable_p2p", "enable_p2p", "is_enabled"]
    assert llmpt.TrackerClient is tracker_client.TrackerClient
    assert llmpt.__version__.count(".") == 2


def test_these_signatures_stay() -> None:
    assert str(inspect.signature(llmpt.enable_p2p, eval_str=True)) == "(*, tracker: str | None = None) -> bool"
    assert str(inspect.signature(llmpt.disable_p2p)) == "() -> None"
    assert str(inspect.signature(llmpt.is_enabled)) == "() -> bool"


def test_a_name_that_is_none_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="enable_p3p"):
        _ = llmpt.enable_p3p  # type: ignore[attr-defined]


def test_a_tracker_that_cannot_be_one_is_a_setting_error_that_says_what_would_be_right() -> None:
    with pytest.raises(SettingError, match="http://server:8000"):
        llmpt.enable_p2p(tracker="server")


def test_hf_use_p2p_wins_over_a_call(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    llmpt.disable_p2p()  # another test may have imported huggingface_hub, and with it the hook
    monkeypatch.setenv("HF_USE_P2P", "0")
    caplog.set_level("INFO", logger="llmpt")
    assert llmpt.enable_p2p() is False
    assert "HF_USE_P2P=0" in caplog.text
    assert not patch.is_enabled()
