from __future__ import annotations

from dataclasses import FrozenInstanceError, dataclass
from pathlib import Path

import pytest

from llmpt.core import settings
from llmpt.core.errors import SettingError
from llmpt.core.settings import declared, load, setting
from llmpt.settings import sources as sources_module
from llmpt.settings.sources import sources


@dataclass(frozen=True)
class Lunch:
    tracker: str | None = setting("LLMPT_TRACKER", settings.url, "", "the server")
    stall_timeout_s: float = setting("LLMPT_STALL_TIMEOUT", settings.number(0.1, 3600), "5", "seconds without a byte")
    min_blob_bytes: int = setting("LLMPT_MIN_BLOB_BYTES", settings.size, "1M", "smallest blob with a swarm")
    port: int = setting("LLMPT_PEER_PORT", settings.port, "6882", "a port")
    owner: str = "nobody"


def environ(tmp_path: Path, **values: str) -> dict[str, str]:
    return {"XDG_CONFIG_HOME": str(tmp_path), **values}


def write_config(tmp_path: Path, text: str) -> None:
    (tmp_path / "llmpt").mkdir(exist_ok=True)
    (tmp_path / "llmpt" / "config.toml").write_text(text)


def test_defaults_hold_where_nothing_is_said() -> None:
    assert load(Lunch, {}) == Lunch(tracker=None, stall_timeout_s=5.0, min_blob_bytes=1 << 20, port=6882, owner="nobody")


def test_an_empty_variable_counts_as_unset() -> None:
    assert load(Lunch, {"LLMPT_PEER_PORT": "  "}).port == 6882


def test_a_wrong_value_names_the_setting_and_says_what_would_be_right() -> None:
    with pytest.raises(SettingError, match=r"LLMPT_PEER_PORT='many' cannot be used: write a whole number between 0 and 65535"):
        load(Lunch, {"LLMPT_PEER_PORT": "many"})


def test_what_the_caller_says_comes_before_the_environment() -> None:
    assert load(Lunch, {"LLMPT_PEER_PORT": "many"}, port=1, owner="me") == Lunch(None, 5.0, 1 << 20, 1, "me")


def test_the_environment_comes_before_the_file_and_the_file_before_etc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    etc = tmp_path / "etc.toml"
    etc.write_text('LLMPT_TRACKER = "http://etc:8000"\nLLMPT_STALL_TIMEOUT = 7.5\nLLMPT_PEER_PORT = 1')
    monkeypatch.setattr(sources_module, "ETC_CONFIG", etc)
    write_config(tmp_path, 'LLMPT_TRACKER = "http://user:8000"\nLLMPT_PEER_PORT = 2')
    found = load(Lunch, sources(environ(tmp_path, LLMPT_PEER_PORT="3")))
    assert (found.tracker, found.stall_timeout_s, found.port) == ("http://user:8000", 7.5, 3)


def test_a_file_speaks_toml(tmp_path: Path) -> None:
    write_config(tmp_path, "HF_USE_P2P = false\nLLMPT_QUIET = true\nLLMPT_REPOS = ['a/*', '!a/b']\nLLMPT_PEER_PORT = 9")
    found = sources(environ(tmp_path))
    assert (found["HF_USE_P2P"], found["LLMPT_QUIET"], found["LLMPT_REPOS"]) == ("0", "1", "a/*,!a/b")
    assert found["LLMPT_PEER_PORT"] == "9"


def test_a_file_that_is_not_toml_is_named(tmp_path: Path) -> None:
    write_config(tmp_path, "LLMPT_TRACKER = http://x")
    with pytest.raises(SettingError, match=r"config\.toml is not TOML"):
        sources(environ(tmp_path))


def test_no_file_is_no_error(tmp_path: Path) -> None:
    assert sources(environ(tmp_path, A="b"))["A"] == "b"


def test_a_role_can_list_what_it_declares() -> None:
    assert declared(Lunch)[0] == ("LLMPT_TRACKER", "", "the server")
    assert len(declared(Lunch)) == 4


def test_settings_are_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        load(Lunch, {}).port = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("1048576", 1 << 20),
        ("1k", 1024),
        ("512K", 512 << 10),
        ("1M", 1 << 20),
        ("50MiB", 50 << 20),
        ("1.5G", 3 << 29),
        ("2 TB", 2 << 40),
        ("7b", 7),
    ],
)
def test_sizes_are_read_as_people_write_them(text: str, size: int) -> None:
    assert settings.size(text) == size


@pytest.mark.parametrize("text", ["", "-1", "1X", "M", "1e6", "1,5M", "9" * 400])
def test_other_text_is_no_size(text: str) -> None:
    with pytest.raises(ValueError, match="write a number of bytes"):
        settings.size(text)


@pytest.mark.parametrize(
    "text", ["http://server:8000", "https://server", "http://10.0.0.1:8000/", "http://[fd00::1]:8000", "http://server/llmpt/"]
)
def test_the_address_of_a_server_loses_its_trailing_slash(text: str) -> None:
    assert settings.url(text) == text.rstrip("/")


@pytest.mark.parametrize(
    "text",
    [
        "server:8000",
        "ftp://server",
        "http://",
        "http:///x",
        "http://a b",
        "http://user:pw@server",
        "http://s?q",
        "http://s:port",
        "http://s:99999",
    ],
)
def test_what_is_no_address_of_a_server_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="write it as http://server:8000"):
        settings.url(text)


def test_flags_numbers_names_and_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [settings.flag(text) for text in ("1", "Yes", "on", "TRUE", "0", "no", "OFF", "false", "")] == [True] * 4 + [False] * 5
    with pytest.raises(ValueError, match="write 1 or 0"):
        settings.flag("maybe")
    assert settings.number(0, 10)("2.5") == 2.5
    for text in ("nan", "inf", "11", "x", ""):
        with pytest.raises(ValueError, match="between 0 and 10"):
            settings.number(0, 10)(text)
    assert settings.patterns("a/*, !a/b  c") == ("a/*", "!a/b", "c")
    monkeypatch.setenv("HOME", "/home/somebody")
    monkeypatch.setenv("WHERE", "there")
    assert settings.path("~/x/$WHERE") == Path("/home/somebody/x/there")
    assert settings.optional_text("") is None
    assert settings.text("x") == settings.optional_text("x") == "x"
    with pytest.raises(ValueError, match="not a network"):
        settings.cidrs("everyone")
