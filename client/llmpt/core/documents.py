"""JSON from a network or a disk, read within bounds: what it costs is known before any of it is built.

    document = read_json(body, most_bytes=1 << 20)

Not taken, though Python's reader takes it: another encoding than UTF-8, nesting without end (at which a thread, or with a
raised recursion limit the process, would end), more values than memory should hold, a key twice in one object, NaN and
Infinity. (Numbers of thousands of digits are no matter: Python itself refuses those.)
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

from llmpt.core.errors import InvalidInput

MAX_DEPTH = 32
MAX_VALUES = 2_000_000  # about 250 MB at worst; a manifest of 200,000 files has 1.2 million

_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_BRACKETS = bytes.maketrans(b"{}", b"[]")
_OTHERS = bytes(set(range(256)) - set(b"[]{}"))


def read_json(data: bytes | str, *, most_bytes: int, most_values: int = MAX_VALUES, depth: int = MAX_DEPTH) -> Any:
    """Read one document; raise `InvalidInput` for what is none, or is beyond the bounds."""
    raw = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data
    if len(raw) > most_bytes:
        raise InvalidInput(f"a document of more than {most_bytes} bytes")
    opened = raw.count(b"[") + raw.count(b"{")
    if opened + raw.count(b",") > most_values and _values(raw) > most_values:
        raise InvalidInput(f"a document of more than {most_values} values")
    if opened > depth and _is_deeper(raw, depth):
        raise InvalidInput(f"not JSON, or nested deeper than {depth}")
    try:
        return _decoder.decode(data if isinstance(data, str) else raw.decode())
    except InvalidInput:
        raise
    except UnicodeDecodeError:
        raise InvalidInput("not JSON in UTF-8") from None
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"not JSON: {error}") from None


def _values(raw: bytes) -> int:
    """Count what may be values, but for what stands in texts."""
    bare = _STRING.sub(b"", raw)
    return bare.count(b"[") + bare.count(b"{") + bare.count(b",")


def _is_deeper(raw: bytes, depth: int) -> bool:
    """Whether the brackets are nested deeper, or do not fit. Up to where a reader would stop, this reads texts as it does."""
    outline = _STRING.sub(b"", raw).translate(_BRACKETS, _OTHERS)
    for _ in range(depth):
        outline = outline.replace(b"[]", b"")
    return bool(outline)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise InvalidInput(f"not a number that can be: {text:.40}")
    return value


def _constant(text: str) -> Any:
    raise InvalidInput(f"{text} is not JSON")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise InvalidInput("a key stands twice in an object")
    return found


_decoder = json.JSONDecoder(parse_float=_finite, parse_constant=_constant, object_pairs_hook=_unique)
