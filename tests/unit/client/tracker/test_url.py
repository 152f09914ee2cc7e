"""The address of a server is read once, and what is none never reaches a socket."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmpt.core.errors import InvalidInput, SettingError
from llmpt.tracker.url import HttpUrl
from llmpt.tracker.wire import Wire


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("http://server", (False, "server", 80, "")),
        ("https://server/x", (True, "server", 443, "/x")),
        ("http://10.0.0.1:8000/blobs/a?b=c", (False, "10.0.0.1", 8000, "/blobs/a?b=c")),
        ("http://[fd00::1]:9/", (False, "fd00::1", 9, "/")),
    ],
)
def test_a_url_is_read_into_what_is_connected_to_and_asked(text: str, parts: tuple[object, ...]) -> None:
    url = HttpUrl.parse(text)
    assert (url.tls, url.host, url.port, url.target) == parts


@pytest.mark.parametrize(
    "text",
    [
        "",
        "server:8000",
        "ftp://server",
        "http://",
        "http://:80",
        "http://[::1",
        "http://server:port",
        "http://server:0",
        "http://server:65536",
        "http://user:secret@server",
        "http://server/a b",
        "http://server/\r\nHost: other",
        "http://server/ä",
        "http://" + "a" * 64,
        "http://a..b",
        "http://server/" + "a" * 9000,
    ],
)
def test_what_is_no_url_of_a_server_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        HttpUrl.parse(text)
    with pytest.raises(SettingError, match="not the address of a tracker"):
        Wire(text)


@given(st.one_of(st.text(max_size=40), st.text(max_size=30).map("http://".__add__)))
@settings(max_examples=300, deadline=None)
def test_any_text_is_a_url_or_is_refused(text: str) -> None:
    try:
        url = HttpUrl.parse(text)
    except InvalidInput:
        return
    assert url.text == text
    assert url.text.isascii()
    assert 0 < url.port < 65536
