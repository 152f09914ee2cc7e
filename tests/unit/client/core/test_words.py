"""A stranger's words are shown, and do nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmpt.core.words import plain, plain_lines


@given(st.text())
def test_they_are_one_printable_line(text: str) -> None:
    assert plain(text).isprintable()
    assert all(line.isprintable() for line in plain_lines(text).split("\n"))


@pytest.mark.parametrize(
    "text", ["\x1b[2J", "\x9b2J", "\x07", "a\nb", "a\rb", "\u202egnp.exe", "\u2066", "\ud800", "\u2028", "\x7f", "\0"]
)
def test_what_a_terminal_would_obey_is_a_question_mark(text: str) -> None:
    assert "?" in plain(text)


def test_words_are_kept_and_cut() -> None:
    assert plain("modèle 模型 [red]") == "modèle 模型 [red]"
    assert plain("a" * 1000, longest=10) == "a" * 10
    assert plain_lines("one\ntwo\x1b[31m") == "one\ntwo?[31m"
