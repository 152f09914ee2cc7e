"""The hook's lines: in the program's logging as it is, or as JSON on stderr where that is asked for."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest

from llmpt.core import request_id
from llmpt.hook import lines

log = logging.getLogger("llmpt")


@pytest.fixture(autouse=True)
def hook() -> Iterator[None]:
    lines.put()
    yield
    lines.take_back()
    ours = [handler for handler in log.handlers if type(handler) is logging.StreamHandler]
    assert (ours, log.filters, log.propagate) == ([], [], True)


def test_a_line_of_a_download_ends_with_its_id(caplog: pytest.LogCaptureFixture) -> None:
    with request_id.carried("abc"):
        log.warning("%s: 100%% broke off", "w.bin")
    log.warning("of no download")
    assert [record.getMessage() for record in caplog.records] == ["w.bin: 100% broke off [abc]", "of no download"]


def test_json_goes_to_stderr_once_at_the_levels_of_the_program(capsys: pytest.CaptureFixture[str]) -> None:
    lines.use("json")
    lines.use("json")
    with request_id.carried("abc"):
        log.warning("%s broke off", "w.bin")
        log.debug("not said")
    (line,) = capsys.readouterr().err.splitlines()
    found = json.loads(line)
    assert (found["message"], found["request_id"], found["level"]) == ("w.bin broke off", "abc", "WARNING")
