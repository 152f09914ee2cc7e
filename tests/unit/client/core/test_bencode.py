from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmpt.core import bencode
from llmpt.core.errors import BencodeError

VALUES = st.recursive(
    st.integers(-(2**63), 2**63 - 1) | st.binary(max_size=40),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.binary(max_size=8), inner, max_size=5),
    max_leaves=30,
)


@given(VALUES)
def test_what_is_written_is_read_back(value: Any) -> None:
    assert bencode.decode(bencode.encode(value), max_depth=40) == value


@given(st.binary(max_size=60))
def test_what_is_accepted_would_be_written_again_byte_for_byte(data: bytes) -> None:
    try:
        value = bencode.decode(data)
    except BencodeError:
        return
    assert bencode.encode(value) == data


@given(st.text(alphabet="di0123456789:le-", max_size=40))
def test_nothing_but_a_bencode_error_comes_out_of_junk_that_looks_like_bencode(text: str) -> None:
    try:
        value = bencode.decode(text.encode())
    except BencodeError:
        return
    assert bencode.encode(value) == text.encode()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not a value"),
        (b"e", "not a value"),
        (b"i-0e", "not an integer"),
        (b"i007e", "not an integer"),
        (b"i-e", "not an integer"),
        (b"ie", "not an integer"),
        (b"i1", "not an integer"),
        (b"i+1e", "not an integer"),
        (b"i 1e", "not an integer"),
        (b"i1_0e", "not an integer"),
        (b"i9223372036854775808e", "64 bits"),
        (b"i-9223372036854775809e", "64 bits"),
        (b"i" + b"9" * 5000 + b"e", "not an integer"),
        (b"01:a", "not a value"),
        (b"-1:a", "not a value"),
        (b"2:a", "longer than the input"),
        (b"9999999999:a", "longer than the input"),
        (b"99999999999999999999:a", "not a value"),
        (b"l", "not a value"),
        (b"d", "not a value"),
        (b"d1:ae", "a key without a value"),
        (b"di1ei2ee", "not a value"),
        (b"d1:bi1e1:ai1ee", "not sorted or not unique"),
        (b"d1:ai1e1:ai2ee", "not sorted or not unique"),
        (b"i1ei2e", "left over"),
        (b"i1e\n", "left over"),
        (b"l" * 17 + b"e" * 17, "nested deeper than 16"),
        (b"l" * 100_000, "nested deeper than 16"),
    ],
)
def test_what_is_not_canonical_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(BencodeError, match=reason):
        bencode.decode(data)


def test_a_bomb_of_tokens_is_refused_before_it_is_built() -> None:
    with pytest.raises(BencodeError, match="more than 1000 values"):
        bencode.decode(b"l" + b"i1e" * 2000 + b"e", max_tokens=1000)


def test_sixteen_levels_are_read() -> None:
    assert bencode.decode(b"l" * 16 + b"e" * 16)


def test_the_bytes_of_a_top_level_value_are_given_as_they_came() -> None:
    value, raw = bencode.decode_dict(b"d4:infod1:ali1eee5:otheri7ee")
    assert value == {b"info": {b"a": [1]}, b"other": 7}
    assert raw == {b"info": b"d1:ali1eee", b"other": b"i7e"}


@pytest.mark.parametrize("data", [b"le", b"i1e", b"1:d"])
def test_a_dictionary_is_insisted_on(data: bytes) -> None:
    with pytest.raises(BencodeError, match="expected a dictionary"):
        bencode.decode_dict(data)


def test_keys_are_sorted_as_raw_bytes_whatever_they_were_given_as() -> None:
    assert bencode.encode({"b": 1, b"a": [b"x", "é", -3]}) == b"d1:al1:x2:\xc3\xa9i-3ee1:bi1ee"


def test_what_bencode_has_no_form_for_is_a_bug_of_the_caller() -> None:
    with pytest.raises(TypeError, match="bencode has no float"):
        bencode.encode({"a": 1.5})
