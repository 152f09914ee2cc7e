"""The user's config file, changed one setting at a time."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmpt.core.errors import SettingError
from llmpt.settings import ClientSettings, config_file
from llmpt.settings.sources import origins

URL = "http://server:8000"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", f'LLMPT_TRACKER = "{URL}"\n'),
        ("# a comment\nLLMPT_QUIET = true", f'# a comment\nLLMPT_QUIET = true\nLLMPT_TRACKER = "{URL}"\n'),
        ('LLMPT_TRACKER = "http://old" # old\nX = 1\n', f'LLMPT_TRACKER = "{URL}"\nX = 1\n'),
        ("\"LLMPT_TRACKER\"='http://old'\n", f'LLMPT_TRACKER = "{URL}"\n'),
        (
            'X = 1\n[table]\nLLMPT_TRACKER = "its"\n',
            f'X = 1\nLLMPT_TRACKER = "{URL}"\n[table]\nLLMPT_TRACKER = "its"\n',
        ),
    ],
)
def test_a_setting_is_written_and_all_else_stays(tmp_path: Path, before: str, after: str) -> None:
    file = tmp_path / "deep" / "config.toml"
    if before:
        file.parent.mkdir()
        file.write_text(before)
    assert config_file.write(file, "LLMPT_TRACKER", URL)
    assert file.read_text() == after
    assert not config_file.write(file, "LLMPT_TRACKER", URL), "nothing more to change"
    assert [path.name for path in file.parent.iterdir()] == ["config.toml"]


def test_a_setting_is_taken_out(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    assert not config_file.write(file, "LLMPT_TRACKER", None)
    file.write_text(f'A = 1\nLLMPT_TRACKER = "{URL}"\nB = 2\n')
    assert config_file.write(file, "LLMPT_TRACKER", None)
    assert file.read_text() == "A = 1\nB = 2\n"


def test_a_link_into_ones_dotfiles_stays_a_link_and_the_mode_stays(tmp_path: Path) -> None:
    real = tmp_path / "dotfiles.toml"
    real.write_text("")
    real.chmod(0o600)
    link = tmp_path / "config.toml"
    link.symlink_to(real)
    config_file.write(link, "LLMPT_TRACKER", URL)
    assert link.is_symlink()
    assert URL in real.read_text()
    assert real.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("text", ["this is not TOML", 'LLMPT_TRACKER = """http://\nold"""\n'])
def test_a_file_that_cannot_be_changed_is_left_as_it_is(tmp_path: Path, text: str) -> None:
    file = tmp_path / "config.toml"
    file.write_text(text)
    with pytest.raises(SettingError, match=r"config\.toml"):
        config_file.write(file, "LLMPT_TRACKER", URL)
    assert file.read_text() == text


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingError, match="cannot be"):
        config_file.write(tmp_path / "file" / "config.toml", "LLMPT_TRACKER", URL)


def test_every_setting_has_its_origin(tmp_path: Path) -> None:
    file = tmp_path / "llmpt" / "config.toml"
    file.parent.mkdir()
    file.write_text('LLMPT_QUIET = true\nLLMPT_TRACKER = "http://in-file:8000"\n')
    environ = {"XDG_CONFIG_HOME": str(tmp_path), "LLMPT_TRACKER": URL, "LLMPT_STALL_TIMEOUT": "soon"}
    found = {one.name: one for one in origins(ClientSettings, environ)}
    assert (found["LLMPT_TRACKER"].text, found["LLMPT_TRACKER"].place) == (URL, "environment")
    assert (found["LLMPT_QUIET"].text, found["LLMPT_QUIET"].place) == ("1", str(file))
    assert (found["LLMPT_PEER_PORT"].text, found["LLMPT_PEER_PORT"].place) == ("6882", "default")
    assert "write a number" in found["LLMPT_STALL_TIMEOUT"].problem
    assert [one.name for one in found.values() if one.problem] == ["LLMPT_STALL_TIMEOUT"]
