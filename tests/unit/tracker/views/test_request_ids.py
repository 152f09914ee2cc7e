"""Each answer names its request: by the client's id, where that has the form of one."""

from __future__ import annotations

import logging
import re

import pytest

from llmpt.core import request_id
from tests.unit.tracker.conftest import Api

OURS = re.compile(r"[0-9a-f]{16}")


def test_an_id_comes_back_and_is_logged(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    answer = api.get("/api/v1/repos?q=secret", headers={"X-Request-Id": "B126f"})
    assert answer.headers["X-Request-Id"] == "b126f"
    (line,) = (record.getMessage() for record in caplog.records if record.name.endswith("request_ids"))
    assert re.fullmatch(r"GET /api/v1/repos for 127\.0\.0\.1: 200 in \d\.\d{3} s", line)


@pytest.mark.parametrize("bad", ["a b", "x" * 65, "\x1b[2J", "é"])
def test_what_is_no_id_gets_one_of_ours_and_no_line(api: Api, bad: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    answer = api.get("/api/v1/repos", headers={"X-Request-Id": bad})
    assert OURS.fullmatch(answer.headers["X-Request-Id"])
    assert caplog.records == []


def test_an_error_is_named_too_and_no_two_requests_are_the_same(api: Api) -> None:
    ids = {api.get(path).headers["X-Request-Id"] for path in ("/api/v1/repos", "/nothing", "/api/v1/torrents/x")}
    assert len(ids) == 3


def test_huggingface_hub_sees_its_own(api: Api) -> None:
    answer = api.get("/api/models/org/model", headers={"X-Amzn-Trace-Id": "4b2c-1"})
    assert answer.headers["X-Request-Id"] == "4b2c-1"
    assert request_id.current() == "", "afterwards there is none"
