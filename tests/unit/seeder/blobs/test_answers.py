"""What a request for a blob is answered: ranges, conditions, and the heads of answers."""

from __future__ import annotations

import pytest

from llmpt.core.blob import Etag
from llmpt.core.http_head import Head, parse_head
from llmpt.core.hub_headers import named
from llmpt_seeder.blobs.answers import blob_answer, refusal

NAME = Etag("ab" * 32)
SIZE = 1000


def head(**fields: str) -> Head:
    lines = [f"{name.replace('_', '-')}: {text}" for name, text in fields.items()]
    return parse_head("\r\n".join(["GET /blobs/x HTTP/1.1", *lines]).encode())


@pytest.mark.parametrize(
    ("wanted", "status", "span"),
    [
        ("bytes=0-99", 206, range(100)),
        ("bytes=0-0", 206, range(1)),
        ("bytes=100-", 206, range(100, SIZE)),
        ("bytes=-10", 206, range(990, SIZE)),
        ("bytes=-5000", 206, range(SIZE)),
        ("bytes=990-5000", 206, range(990, SIZE)),
        ("Bytes = 1 - 2", 206, range(1, 3)),
        ("bytes=1000-", 416, range(0)),
        ("bytes=-0", 416, range(0)),
        ("bytes=5-4", 200, range(SIZE)),
        ("bytes=-", 200, range(SIZE)),
        ("bytes=a-b", 200, range(SIZE)),
        ("lines=1-2", 200, range(SIZE)),
        ("bytes=0-1,5-6", 200, range(SIZE)),
        ("bytes=" + "9" * 30 + "-", 200, range(SIZE)),
    ],
)
def test_a_range_is_answered_as_the_standard_has_it(wanted: str, status: int, span: range) -> None:
    answer = blob_answer(head(Range=wanted), NAME, SIZE)
    assert (answer.status, answer.span) == (status, span)
    content_range = [field for field in answer.fields if field.startswith("Content-Range")]
    told = {200: [], 206: [f"Content-Range: bytes {span.start}-{span.stop - 1}/{SIZE}"], 416: [f"Content-Range: bytes */{SIZE}"]}
    assert content_range == told[status]


@pytest.mark.parametrize(("if_range", "status"), [(f'"{NAME}"', 206), ('"other"', 200), ("Sun, 22 Nov 2026 00:00:00 GMT", 200)])
def test_a_range_counts_only_for_the_content_that_is_meant(if_range: str, status: int) -> None:
    assert blob_answer(head(Range="bytes=5-", If_Range=if_range), NAME, SIZE).status == status


@pytest.mark.parametrize(
    ("condition", "status"),
    [(f'"{NAME}"', 304), (f'W/"{NAME}"', 304), (f'"x", "{NAME}"', 304), ("*", 304), ('"x"', 200), ("", 200)],
)
def test_who_has_the_blob_already_is_told_so(condition: str, status: int) -> None:
    assert blob_answer(head(If_None_Match=condition), NAME, SIZE).status == status


def test_an_empty_blob_is_whole() -> None:
    answer = blob_answer(head(), NAME, 0)
    assert (answer.status, answer.span) == (200, range(0))
    assert b"\r\nContent-Length: 0\r\n" in answer.head(keep_alive=True)


def test_the_head_says_what_a_client_has_to_know() -> None:
    lines = blob_answer(head(), NAME, SIZE).head(keep_alive=True).decode().split("\r\n")
    assert lines[0] == "HTTP/1.1 200 OK"
    assert {f'ETag: "{NAME}"', "Accept-Ranges: bytes", "Content-Type: application/octet-stream", "Content-Length: 1000"} <= {
        *lines
    }
    assert not [line for line in lines if line.lower().startswith(("content-encoding", "x-xet", "link", "transfer-encoding"))]


def test_an_answer_without_a_body_has_no_length() -> None:
    assert b"Content-Length" not in blob_answer(head(If_None_Match="*"), NAME, SIZE).head(keep_alive=True)


def test_a_refusal_has_the_shape_of_all_our_apis() -> None:
    answer = refusal(503, "busy", "later", "Retry-After: 5")
    assert answer.body == b'{"error": {"code": "busy", "message": "later"}}\n'
    assert answer.head(keep_alive=False).startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert b"\r\nConnection: close\r\n" in answer.head(keep_alive=False)


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("a/model.bin", "inline; filename*=UTF-8''model.bin; filename=\"model.bin\""),
        ('ü "1" ;%0d.bin', "inline; filename*=UTF-8''%C3%BC%20%221%22%20%3B%250d.bin; filename=\"_ _1_ ;%0d.bin\""),
    ],
)
def test_a_blob_is_saved_under_the_name_that_the_tracker_put_into_its_address(path: str, told: str) -> None:
    query = named("http://seeder/blobs/x", path).partition("?")[2].encode()
    assert f"Content-Disposition: {told}" in blob_answer(head()._replace(query=query), NAME, SIZE).fields


@pytest.mark.parametrize("name", ["", "a%0d%0aX-Evil:%201", "..", "a/b", "a%2fb", "a%5cb", "%00", "a" * 256, "%e2%80%ae"])
def test_what_is_no_files_name_names_nothing(name: str) -> None:
    answer = blob_answer(head()._replace(query=b"name=" + name.encode()), NAME, SIZE)
    assert not [field for field in answer.fields if "Disposition" in field or "Evil" in field]
