"""Where a request begins and ends."""

from __future__ import annotations

import pytest

from llmpt.core.http_head import BadRequest
from llmpt_tracker.serve.http.framing import MAX_HEAD_BYTES, Chunks, Frame, frame_of, head_end

MOST = 1000


def head(*fields: str) -> bytes:
    """Return the head of a request with these header lines."""
    return "\r\n".join(("POST / HTTP/1.1", *fields, "", "")).encode()


@pytest.mark.parametrize(
    ("fields", "frame"),
    [
        ((), Frame(0, False)),
        (("Content-Length: 0",), Frame(0, False)),
        (("content-LENGTH:12", "Expect: 100-continue"), Frame(12, True)),
        (("Content-Length: 1000",), Frame(1000, False)),
        (("Transfer-Encoding: Chunked",), Frame(None, False)),
    ],
)
def test_the_length_of_a_body_is_read(fields: tuple[str, ...], frame: Frame) -> None:
    assert frame_of(head(*fields), MOST) == frame


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        (("Content-Length: 1001",), 413),
        (("Content-Length: 1", "Content-Length: 2"), 400),
        (("Content-Length: 1", "Content-Length: 1"), 400),
        (("Content-Length: 1", "Transfer-Encoding: chunked"), 400),
        (("Transfer-Encoding: chunked", "Transfer-Encoding: identity"), 400),
        (("Transfer-Encoding: gzip, chunked",), 501),
        *(((f"Content-Length: {text}",), 400) for text in ("-1", "+1", "1, 1", "0x1", "", "1" * 19)),
        (("X: a\nContent-Length: 5",), 400),
        (("X: a\rContent-Length: 5",), 400),
        (("X: \0",), 400),
    ],
)
def test_what_two_readers_could_read_differently_is_refused(fields: tuple[str, ...], status: int) -> None:
    with pytest.raises(BadRequest) as refused:
        frame_of(head(*fields), MOST)
    assert refused.value.status == status


def test_a_head_ends_with_an_empty_line_and_is_not_too_long() -> None:
    assert head_end(b"GET / HTTP/1.1\r\nHost: x\r\n") == -1
    assert head_end(b"GET / HTTP/1.1\r\n\r\nmore") == 18
    with pytest.raises(BadRequest, match="too long"):
        head_end(b"x" * (MAX_HEAD_BYTES + 1))


BODY = b"4\r\nwiki\r\nA;name=x\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n"


@pytest.mark.parametrize("step", [1, 2, 3, 7, 100])
def test_the_end_of_a_body_in_chunks_is_found_however_it_comes(step: int) -> None:
    data, chunks, ends = BODY + b"GET /next", Chunks(MOST), []
    for at in range(0, len(BODY) + (step > 50) * 9, step):
        found = chunks.feed(data[at : min(at + step, len(data) if step > 50 else len(BODY))])
        if found >= 0:
            ends.append(at + found)
    assert ends == [len(BODY)]


@pytest.mark.parametrize(
    "data", [b"x\r\n", b"-1\r\n", b"4\n", b"ffffffff\r\n", b"3e9\r\n", b"1" * 300, b"0\r\n" + b"a:b\r\n" * 20]
)
def test_chunks_that_are_none_or_too_many_are_refused(data: bytes) -> None:
    with pytest.raises(BadRequest):
        Chunks(MOST).feed(data)
