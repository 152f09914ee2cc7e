"""A config file that cannot be read is one sentence that names it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from llmpt.core.errors import SettingError
from llmpt.settings.sources import sources


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (Path.mkdir, "is a folder, where llmpt's settings are expected"),
        (lambda file: file.write_bytes(b"LLMPT_TRACKER = '\xff'"), "is not UTF-8"),
        (lambda file: file.write_text("LLMPT_TRACKER"), "is not TOML"),
    ],
)
def test_a_config_file_that_cannot_be_read_is_named(tmp_path: Path, broken: Callable[[Path], object], said: str) -> None:
    file = tmp_path / "llmpt" / "config.toml"
    file.parent.mkdir()
    broken(file)
    with pytest.raises(SettingError) as error:
        sources({"XDG_CONFIG_HOME": str(tmp_path)})
    assert str(error.value).startswith(f"{file} {said}")
