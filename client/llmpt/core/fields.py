"""A JSON object from somewhere else, read field by field, each into what it must be.

    fields = Fields(document, "a mirror")
    size = fields.count("size")
    commit = fields.optional("commit", fields.text)

Whatever does not fit raises `InvalidInput` that names the field.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, TypeVar

from llmpt.core.errors import InvalidInput

T = TypeVar("T")

MOST = 1 << 53  # a JSON number that every program can hold
LONGEST = 4000


class Fields:
    """One object. `what` is how it is called in an error; with `only` any other field is an error."""

    def __init__(self, document: object, what: str, *, only: Collection[str] | None = None) -> None:
        if not isinstance(document, dict):
            raise InvalidInput(f"{what} is an object")
        if only is not None and (odd := [name for name in document if name not in only]):
            raise InvalidInput(f"{what} has no field {odd[0]!r:.80}")
        self._said: dict[str, Any] = document
        self._what = what

    def __contains__(self, name: str) -> bool:
        return name in self._said

    def any(self, name: str) -> Any:
        """Return a field as it is."""
        if name not in self._said:
            raise InvalidInput(f"{name}: {self._what} needs it")
        return self._said[name]

    def optional(self, name: str, read: Callable[[str], T]) -> T | None:
        """Return what `read` makes of a field; None where it is null or not there."""
        return None if self._said.get(name) is None else read(name)

    def text(self, name: str, *, longest: int = LONGEST) -> str:
        """Return a text of so many characters at most."""
        value = self.any(name)
        if not _is_text(value) or len(value) > longest:
            raise InvalidInput(f"{name}: a text of at most {longest} characters")
        return str(value)

    def texts(self, name: str, *, most: int) -> tuple[str, ...]:
        """Return a list of so many texts at most."""
        value = self.any(name)
        if not isinstance(value, list) or len(value) > most or not all(map(_is_text, value)):
            raise InvalidInput(f"{name}: a list of at most {most} texts")
        return tuple(value)

    def count(self, name: str, *, least: int = 0, most: int = MOST) -> int:
        """Return a whole number within bounds."""
        value = self.any(name)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise InvalidInput(f"{name}: a whole number from {least} to {most}")
        return value


def _is_text(value: object) -> bool:
    """Whether it is a text that can be written down: half a character of UTF-16 cannot."""
    try:
        return isinstance(value, str) and value.encode() is not None
    except UnicodeEncodeError:
        return False
