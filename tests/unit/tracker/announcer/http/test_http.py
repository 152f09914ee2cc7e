"""Heads of requests, and answers."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmpt.core.browsers import SAFE_HEADERS
from llmpt.core.http_head import BadRequest, literal_host, parse_head
from llmpt_tracker.announcer.http.answers import respond


def head(*lines: str) -> bytes:
    return "\r\n".join(lines).encode("latin-1")


def status(data: bytes) -> int:
    with pytest.raises(BadRequest) as caught:
        parse_head(data)
    return caught.value.status


def test_path_and_query_stay_bytes() -> None:
    request = parse_head(b"GET /announce/k?a=%ff&b=\xfe HTTP/1.1\r\nHost: x")
    assert (request.path, request.query) == (b"/announce/k", b"a=%ff&b=\xfe")


def test_a_field_is_found_whatever_its_case_and_only_at_the_start_of_a_line() -> None:
    request = parse_head(head("GET / HTTP/1.1", "X-Note: Host: fake", "HOST:  Real "))
    assert request.field(b"host") == b"real"
    assert request.field(b"note") == b""


def test_a_field_given_twice_is_told_twice() -> None:
    request = parse_head(head("GET / HTTP/1.1", "X-Forwarded-For: 1.2.3.4", "x-forwarded-for: 5.6.7.8"))
    assert request.all_fields(b"x-forwarded-for") == [b"1.2.3.4", b"5.6.7.8"]


@pytest.mark.parametrize(
    ("version", "connection", "kept"),
    [("1.1", "", True), ("1.1", "close", False), ("1.1", "Keep-Alive", True), ("1.0", "", False), ("1.0", "keep-alive", True)],
)
def test_a_connection_is_kept_as_the_version_and_the_client_say(version: str, connection: str, kept: bool) -> None:
    lines = [f"GET / HTTP/{version}", *([f"Connection: {connection}"] if connection else [])]
    assert parse_head(head(*lines)).keep_alive is kept


@pytest.mark.parametrize("line", ["", "GET /", "GET  / HTTP/1.1", "GET / HTTP/2.0", "GET / / HTTP/1.1", "\x16\x03\x01"])
def test_what_is_no_request_line_is_refused(line: str) -> None:
    assert status(head(line)) == 400


@pytest.mark.parametrize("method", ["POST", "HEAD", "get"])
def test_other_methods_are_refused(method: str) -> None:
    assert status(head(f"{method} / HTTP/1.1")) == 405


@pytest.mark.parametrize("field", ["Content-Length: 5", "Transfer-Encoding: chunked", "content-length: x"])
def test_a_request_with_a_body_is_refused(field: str) -> None:
    assert status(head("GET /announce HTTP/1.1", field)) == 400


@pytest.mark.parametrize(
    ("host", "address"),
    [
        (b"10.0.0.5:6969", "10.0.0.5"),
        (b"10.0.0.5", "10.0.0.5"),
        (b"[fd00::5]:6969", "fd00::5"),
        (b"[::ffff:10.0.0.5]:1", "10.0.0.5"),
        (b"server:6969", None),
        (b"localhost", None),
        (b"", None),
        (b"[", None),
        (b"10.0.0.5.6:1", None),
        (b"\xff\xfe", None),
    ],
)
def test_a_host_is_an_address_only_when_it_is_literal(host: bytes, address: str | None) -> None:
    assert literal_host(host) == (address and ipaddress.ip_address(address))


def test_an_answer_to_the_byte() -> None:
    assert respond(200, b"d5:peers0:e", keep_alive=True) == (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nX-Content-Type-Options: nosniff\r\n"
        b"Connection: keep-alive\r\nContent-Length: 11\r\n\r\nd5:peers0:e"
    )
    refusal = respond(404, b"", keep_alive=False)
    assert refusal.startswith(b"HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\n")
    assert refusal.endswith(b"Connection: close\r\nContent-Length: 0\r\n\r\n")
    for name, text in SAFE_HEADERS.items():
        assert f"\r\n{name}: {text}\r\n".encode() in refusal


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_whatever_arrives_is_read_or_refused(raw: bytes) -> None:
    for data in (raw, b"GET / HTTP/1.1\r\n" + raw):
        try:
            request = parse_head(data)
        except BadRequest:
            continue
        assert request.reached_at is None or request.keep_alive in (True, False)
