"""Where the seeder's token comes from."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from llmpt_seeder.publishing.token_file import TokenFile


def test_a_file_that_comes_later_is_waited_for_and_then_read_once(tmp_path: Path) -> None:
    file = tmp_path / "token"
    token = TokenFile(file)
    assert token.read() is None
    file.write_text("first\n")
    assert token.read() == "first"
    file.write_text("second\n")
    assert token.read() == "first"


def test_a_refused_token_is_read_anew_and_kept_while_there_is_no_other(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("first\n")
    token = TokenFile(file)
    assert token.read() == "first"
    token.refused()
    file.unlink()
    assert token.read() == "first"
    file.write_text("second\n")
    token.refused()
    assert token.read() == "second"


@pytest.mark.parametrize("name", ["/dev/fd/{}", "/proc/self/fd/{}"])
def test_a_descriptor_is_read_though_the_file_cannot_be_opened(tmp_path: Path, name: str) -> None:
    file = tmp_path / "token"
    file.write_text("secret\n")
    fd = os.open(file, os.O_RDONLY)
    file.unlink()
    try:
        token = TokenFile(Path(name.format(fd)))
        assert token.read() == "secret"
        token.refused()
        assert token.read() == "secret"
        assert not os.get_inheritable(fd)
    finally:
        os.close(fd)


def test_what_was_read_from_a_pipe_stays_in_use() -> None:
    there, here = os.pipe()
    os.write(here, b"secret\n")
    os.close(here)
    try:
        token = TokenFile(Path(f"/dev/fd/{there}"))
        assert token.read() == "secret"
        token.refused()
        assert token.read() == "secret"
    finally:
        os.close(there)


@pytest.mark.parametrize("path", ["/dev/fd/999999", "/dev/fd/999999999999", "/nowhere/token", "/dev"])
def test_a_place_without_a_token_is_no_token(path: str) -> None:
    assert TokenFile(Path(path)).read() is None
