"""Reading the fields of a message, each into its type. What a field must not be raises `InvalidInput` with the field's name."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llmpt.core.blob import Etag
from llmpt.core.errors import InvalidInput

Message = dict[str, Any]

_REQUIRED: Any = object()


def text(message: Mapping[str, Any], name: str, default: str = _REQUIRED) -> str:
    """Return a string."""
    return str(_of_type(message, name, str, default))


def whole(message: Mapping[str, Any], name: str, default: int = _REQUIRED) -> int:
    """Return a whole number; true and false are none."""
    return int(_of_type(message, name, int, default))


def flag(message: Mapping[str, Any], name: str, default: bool = _REQUIRED) -> bool:
    """Return true or false."""
    return bool(_of_type(message, name, bool, default))


def etag(message: Mapping[str, Any], name: str = "etag") -> Etag:
    """Return an etag of the Hub."""
    return Etag(text(message, name))


def path(message: Mapping[str, Any], name: str) -> Path:
    """Return an absolute path of this machine."""
    found = read_path(text(message, name))
    if not found.is_absolute() or "\0" in str(found):
        raise InvalidInput(f"{name} has to be an absolute path")
    return found


def written(path: Path) -> str:
    """Write a path as UTF-8 that names the same bytes, whatever this program's locale takes them for (PEP 383)."""
    return os.fsencode(path).decode("utf-8", "surrogateescape")


def read_path(text: str) -> Path:
    """Read what `written` has written, maybe under another locale; raise `InvalidInput` when it names no bytes."""
    try:
        return Path(os.fsdecode(text.encode("utf-8", "surrogateescape")))
    except UnicodeEncodeError:
        raise InvalidInput("a path has to be of bytes") from None


def count(message: Mapping[str, Any], name: str) -> int:
    """Return a number for people to look at: 0 where there is none, or none that makes sense."""
    value = message.get(name)
    return int(value) if isinstance(value, int | float) and 0 <= value < 1 << 60 else 0


def reason(message: Mapping[str, Any]) -> str:
    """Return why not, in words for people."""
    return str(message.get("reason", ""))[:500] or "no reason given"


def _of_type(message: Mapping[str, Any], name: str, kind: type, default: Any) -> Any:
    value = message.get(name, default)
    if value is _REQUIRED or type(value) is not kind:
        raise InvalidInput(f"{name} has to be there, of type {kind.__name__}")
    return value
