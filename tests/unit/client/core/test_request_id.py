"""Ids of requests: what is one, and that it goes along to other threads."""

from __future__ import annotations

import threading

import pytest

from llmpt.core import request_id


@pytest.mark.parametrize("text", ["b126f27d6d000fad", "Root=1-67891233-abcdef012345678912345678", "a" * 64])
def test_an_id_is_read_in_lower_case(text: str) -> None:
    assert request_id.parse(text) == text.lower()


@pytest.mark.parametrize(
    "text", [None, 7, "", "a" * 65, "a b", "a\nERROR forged", "\x1b[31m", "a;b", "é", "../x", "-rf", "a\r\nX: y"]
)
def test_what_has_not_the_form_of_an_id_is_none(text: object) -> None:
    assert request_id.parse(text) == ""


def test_no_id_is_made_twice() -> None:
    assert len({request_id.new() for _ in range(1000)}) == 1000


def test_a_step_on_another_thread_works_for_the_same_request() -> None:
    seen: list[dict[str, str]] = []
    with request_id.carried("abc"):
        thread = threading.Thread(target=request_id.carrying(lambda: seen.append(request_id.header())))
    thread.start()
    thread.join()
    assert seen == [{"X-Request-Id": "abc"}]
    assert request_id.header() == {}


def test_a_new_one_has_the_form_of_an_id() -> None:
    new = request_id.new()
    assert request_id.parse(new) == new
