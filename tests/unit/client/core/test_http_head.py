"""The head of a request: what is read of it, and what is refused."""

from __future__ import annotations

import pytest

from llmpt.core.http_head import BadRequest, parse_head
from llmpt.core.networks import parse_address

HEAD = b"GET /blobs/abc?x=1?2 HTTP/1.1\r\nHost: 10.0.0.5:6969\r\nX-Two: First\r\nx-two:  second \r\nAccept: */*"


def test_the_request_line_and_the_fields_are_read() -> None:
    head = parse_head(HEAD)
    assert (head.method, head.path, head.query, head.version) == (b"GET", b"/blobs/abc", b"x=1?2", b"HTTP/1.1")
    assert head.field(b"host") == b"10.0.0.5:6969"
    assert head.field(b"accept") == b"*/*", "the last one, too"
    assert head.field(b"x-two") == b"first"
    assert head.all_fields(b"x-two") == [b"first", b"second"]
    assert head.field(b"x") == b""
    assert head.all_fields(b"x") == []


def test_a_head_may_be_a_request_line_alone() -> None:
    head = parse_head(b"GET / HTTP/1.0")
    assert (head.path, head.query, head.fields, head.field(b"host")) == (b"/", b"", b"", b"")


@pytest.mark.parametrize(
    ("line", "status", "why"),
    [
        (b"GET /", 400, "not a request line"),
        (b"GET / HTTP/1.1 x", 400, "not a request line"),
        (b"", 400, "not a request line"),
        (b"GET / HTTP/2.0", 400, "only HTTP/1.0 and HTTP/1.1 are spoken here"),
        (b"POST / HTTP/1.1", 405, "only GET is answered here"),
        (b"get / HTTP/1.1", 405, "only GET is answered here"),
        (b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked", 400, "a request here has no body"),
        (b"GET / HTTP/1.1\r\nContent-Length: 1", 400, "a request here has no body"),
        (b"GET / HTTP/1.1\r\nContent-Length: 00", 400, "a request here has no body"),
        (b"GET / HTTP/1.1\r\nContent-Length: 0\r\nContent-Length: 9", 400, "not the lines of a head"),
        (b"GET / HTTP/1.1\r\nTransfer-Encoding : chunked", 400, "not the lines of a head"),
        (b"GET / HTTP/1.1\r\nContent-Length\t: 9", 400, "not the lines of a head"),
        (b"GET / HTTP/1.1\r\nX: 1\nTransfer-Encoding: chunked", 400, "not the lines of a head"),
        (b"GET / HTTP/1.1\r\nX: 1\r\n Transfer-Encoding: chunked", 400, "not the lines of a head"),
        (b"GET / HTTP/1.1\r\nHost: 10.0.0.5\r\nHost: evil.example", 400, "not the lines of a head"),
        (b"GET / HTTP/1.1\r\nno field", 400, "not the lines of a head"),
    ],
)
def test_what_is_no_request_for_us_is_refused_with_a_status(line: bytes, status: int, why: str) -> None:
    with pytest.raises(BadRequest, match=why) as refused:
        parse_head(line)
    assert refused.value.status == status


def test_a_body_of_nothing_is_none() -> None:
    assert parse_head(b"GET / HTTP/1.1\r\nContent-Length: 0").path == b"/"


def test_other_methods_may_be_allowed() -> None:
    assert parse_head(b"HEAD / HTTP/1.1", (b"GET", b"HEAD")).method == b"HEAD"
    with pytest.raises(BadRequest, match="only GET, HEAD is answered here"):
        parse_head(b"PUT / HTTP/1.1", (b"GET", b"HEAD"))


@pytest.mark.parametrize(
    ("version", "connection", "kept"),
    [
        (b"1.1", b"", True),
        (b"1.1", b"Close", False),
        (b"1.1", b"keep-alive", True),
        (b"1.0", b"", False),
        (b"1.0", b"Keep-Alive", True),
        (b"1.0", b"close", False),
    ],
)
def test_the_connection_is_kept_as_the_version_and_the_client_say(version: bytes, connection: bytes, kept: bool) -> None:
    field = b"\r\nConnection: " + connection if connection else b""
    assert parse_head(b"GET / HTTP/" + version + field).keep_alive is kept


@pytest.mark.parametrize(
    ("host", "address"),
    [
        (b"10.0.0.5:6969", "10.0.0.5"),
        (b"10.0.0.5", "10.0.0.5"),
        (b"[fd00::5]:6969", "fd00::5"),
        (b"[fd00::5]", "fd00::5"),
        (b"fd00::5", "fd00::5"),
        (b"server:6969", None),
        (b"[server]", None),
        (b"", None),
        (b"\xff", None),
    ],
)
def test_the_address_at_which_we_are_reached_is_the_hosts_where_it_is_a_literal_one(host: bytes, address: str | None) -> None:
    reached = parse_head(b"GET / HTTP/1.1\r\nHost: " + host).reached_at
    assert reached == (None if address is None else parse_address(address))
