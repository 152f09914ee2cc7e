"""What is logged: a line for each message, as text or as JSON, with the id of the request that it is about."""

from __future__ import annotations

import io
import json
import logging
import re

import pytest

from llmpt.core import request_id
from llmpt.host.logs import RequestLines, formatter

FORGED = "repo\n2026-01-01 ERROR forged\x1b[31m"


def logged(form: str, *, bug: bool = False, about: str = FORGED) -> str:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter(form))
    log = logging.Logger("llmpt.test")
    log.addHandler(handler)
    try:
        if bug:
            raise ValueError(FORGED)
        log.warning("asked for %s", about)
    except ValueError:
        log.exception("a bug")
    return stream.getvalue()


def test_text_is_one_line_with_the_id_at_its_end() -> None:
    with request_id.carried("abc"):
        line = logged("text")
    assert re.fullmatch(r"\S+ \S+ WARNING llmpt.test: asked for repo 2026-01-01 ERROR forged\?\[31m \[abc\]\n", line), line
    assert not logged("text").rstrip().endswith("]"), "of no request"


def test_json_is_one_object_a_line() -> None:
    with request_id.carried("abc"):
        text = logged("json")
    assert text.count("\n") == 1
    line = json.loads(text)
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", line.pop("time"))
    message = "asked for repo 2026-01-01 ERROR forged?[31m"
    assert line == {"level": "WARNING", "logger": "llmpt.test", "message": message, "request_id": "abc"}
    assert "request_id" not in json.loads(logged("json"))


def test_a_traceback_is_in_the_same_object() -> None:
    text = logged("json", bug=True)
    assert text.count("\n") == 1
    assert json.loads(text)["traceback"].splitlines()[0] == "Traceback (most recent call last):"
    assert "\x1b" not in json.loads(text)["traceback"]


def test_requests_have_so_many_lines_a_second_and_what_is_left_out_is_counted() -> None:
    said: list[str] = []
    now = 0.0
    lines = RequestLines(lambda sentence, *filled_in: said.append(sentence % filled_in), most=2, clock=lambda: now)
    lines("no request %d", 0)
    with request_id.carried("abc"):
        for number in range(5):
            lines("request %d", number)
        now = 1.0
        lines("request %d", 5)
    assert said == ["request 0", "request 1", "request 5 (before it 3 were left out)"]


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_message_is_cut_off_where_it_is_endless(form: str) -> None:
    assert len(logged(form, about="x" * 100_000)) < 5000
