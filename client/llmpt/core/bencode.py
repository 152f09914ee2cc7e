"""Bencode (BEP 3), canonical only, for bytes that strangers send.

`decode` is iterative and bounded: nesting, tokens and integers have limits, keys must be sorted and unique, numbers have
no leading zero, and all input must be used. What it accepts, `encode` would write again byte for byte.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llmpt.core.errors import BencodeError

MAX_DEPTH = 16
MAX_TOKENS = 300_000
MAX_INT = 2**63 - 1

Value = Any  # int | bytes | list[Value] | dict[bytes, Value]


def encode(value: int | bytes | str | Sequence[Any] | Mapping[Any, Any]) -> bytes:
    """Write `value` canonically: dictionary keys sorted as raw bytes, text as UTF-8."""
    out: list[bytes] = []
    _encode(value, out)
    return b"".join(out)


def _encode(value: Any, out: list[bytes]) -> None:
    if isinstance(value, (bytes, bytearray)):
        out += (b"%d:" % len(value), bytes(value))
    elif isinstance(value, str):
        _encode(value.encode(), out)
    elif isinstance(value, int):
        out.append(b"i%de" % value)
    elif isinstance(value, Mapping):
        out.append(b"d")
        for key, item in sorted((_key(k), v) for k, v in value.items()):
            _encode(key, out)
            _encode(item, out)
        out.append(b"e")
    elif isinstance(value, Sequence):
        out.append(b"l")
        for item in value:
            _encode(item, out)
        out.append(b"e")
    else:
        raise TypeError(f"bencode has no {type(value).__name__}")


def _key(key: Any) -> bytes:
    return key.encode() if isinstance(key, str) else bytes(key)


def decode(data: bytes, *, max_depth: int = MAX_DEPTH, max_tokens: int = MAX_TOKENS) -> Value:
    """Read one canonical value that fills `data`; raise `BencodeError` with the offset otherwise."""
    return _Scanner(data, max_depth, max_tokens).run()[0]


def decode_dict(
    data: bytes, *, max_depth: int = MAX_DEPTH, max_tokens: int = MAX_TOKENS
) -> tuple[dict[bytes, Value], dict[bytes, bytes]]:
    """Read a dictionary: its values, and for each top-level key the raw bytes of the value.

    The raw bytes of `info` are what an info-hash is computed over: they are sliced, never encoded anew.
    """
    value, raw = _Scanner(data, max_depth, max_tokens).run()
    if not isinstance(value, dict):
        raise BencodeError("expected a dictionary at offset 0")
    return value, raw


class _Scanner:
    def __init__(self, data: bytes, max_depth: int, max_tokens: int) -> None:
        self.data, self.max_depth, self.max_tokens = data, max_depth, max_tokens
        self.at = 0

    def run(self) -> tuple[Value, dict[bytes, bytes]]:
        # Each open container is [container, pending key, last key, offset where the pending value starts].
        stack: list[list[Any]] = []
        raw: dict[bytes, bytes] = {}
        tokens = 0
        while True:
            tokens += 1
            if tokens > self.max_tokens:
                raise BencodeError(f"more than {self.max_tokens} values")
            byte = self.data[self.at : self.at + 1]
            top = stack[-1] if stack else None
            if byte == b"e" and top is not None:
                if top[1] is not None:
                    raise BencodeError(f"a key without a value at offset {self.at}")
                self.at += 1
                value = stack.pop()[0]
            elif top is not None and type(top[0]) is dict and top[1] is None:
                key = self._string()
                if top[2] is not None and key <= top[2]:
                    raise BencodeError(f"keys not sorted or not unique at offset {self.at}")
                top[1], top[3] = key, self.at
                continue
            elif byte in (b"d", b"l"):
                if len(stack) >= self.max_depth:
                    raise BencodeError(f"nested deeper than {self.max_depth}")
                self.at += 1
                stack.append([{} if byte == b"d" else [], None, None, 0])
                continue
            elif byte == b"i":
                value = self._integer()
            else:
                value = self._string()
            if not stack:
                if self.at != len(self.data):
                    raise BencodeError(f"bytes left over at offset {self.at}")
                return value, raw
            parent = stack[-1]
            if type(parent[0]) is list:
                parent[0].append(value)
                continue
            key = parent[1]
            parent[0][key] = value
            if len(stack) == 1:
                raw[key] = self.data[parent[3] : self.at]
            parent[1], parent[2] = None, key

    def _integer(self) -> int:
        end = self.data.find(b"e", self.at, self.at + 22)
        digits = self.data[self.at + 1 : end] if end > 0 else b""
        body = digits[1:] if digits[:1] == b"-" else digits
        if not body.isdigit() or (body[:1] == b"0" and digits != b"0"):
            raise BencodeError(f"not an integer at offset {self.at}")
        value = int(digits)
        if not -MAX_INT - 1 <= value <= MAX_INT:
            raise BencodeError(f"an integer beyond 64 bits at offset {self.at}")
        self.at = end + 1
        return value

    def _string(self) -> bytes:
        colon = self.data.find(b":", self.at, self.at + 12)
        digits = self.data[self.at : colon] if colon > 0 else b""
        if not digits.isdigit() or (digits[:1] == b"0" and digits != b"0"):
            raise BencodeError(f"not a value at offset {self.at}")
        start, end = colon + 1, colon + 1 + int(digits)
        if end > len(self.data):
            raise BencodeError(f"a string longer than the input at offset {self.at}")
        self.at = end
        return self.data[start:end]
