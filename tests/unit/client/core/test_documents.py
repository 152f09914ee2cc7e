"""JSON of strangers is read within bounds, and means one thing."""

from __future__ import annotations

import json
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmpt.core.documents import read_json
from llmpt.core.errors import InvalidInput

MOST = 1 << 20
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(VALUES, st.booleans())
def test_what_json_writes_is_read(value: object, ascii_only: bool) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only)
    assert read_json(text, most_bytes=MOST, depth=30) == value
    try:
        raw = text.encode()
    except UnicodeEncodeError:
        return
    assert read_json(raw, most_bytes=MOST, depth=30) == value


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"{",
        b"nul",
        b"\xff",
        '{"a": 1}'.encode("utf-16"),
        b'\xef\xbb\xbf{"a": 1}',
        b'{"a": 1, "a": 2}',
        b"NaN",
        b"[Infinity]",
        b"-Infinity",
        b"1e999",
        b"1" * 5000,
        b"[" * 100_000,
        b"[" * 33 + b"]" * 33,
        b'{"a":' * 33 + b"1" + b"}" * 33,
        b'["\\"", ' + b"[" * 40 + b"]" * 40 + b"]",
        b'["' + b"[" * 40,
        b"[" + b"0," * MOST + b"0]",
    ],
    ids=lambda said: repr(said[:16]),
)
def test_what_means_nothing_or_too_much_is_refused(said: bytes) -> None:
    with pytest.raises(InvalidInput):
        read_json(said, most_bytes=MOST)


def test_brackets_and_commas_in_texts_are_no_nesting_and_no_values() -> None:
    text = "[{,\\" * 1000 + '"'
    assert read_json(json.dumps([text] * 3), most_bytes=MOST, most_values=100) == [text] * 3
    assert read_json(b"[" * 32 + b"]" * 32, most_bytes=MOST) is not None


def test_more_values_than_asked_for_are_refused() -> None:
    assert read_json(b"[1,2,3]", most_bytes=MOST, most_values=4) == [1, 2, 3]
    with pytest.raises(InvalidInput, match="more than 4 values"):
        read_json(b"[1,2,3,4,[]]", most_bytes=MOST, most_values=4)


def test_deep_json_ends_nothing_where_a_program_has_raised_its_limit_of_recursion() -> None:
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(10**6)
    try:
        with pytest.raises(InvalidInput, match="nested deeper"):
            read_json(b"[" * (MOST // 2) + b"]" * (MOST // 2), most_bytes=MOST)
    finally:
        sys.setrecursionlimit(before)
