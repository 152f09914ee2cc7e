"""A JSON object whose long list is read row by row: what is in memory is one row, and what the reader keeps of it."""

from __future__ import annotations

import codecs
import json
import os
from collections.abc import Callable
from typing import Any

from llmpt.core.errors import InvalidInput

CHUNK_BYTES = 256 << 10
MAX_VALUE = 256 << 10  # characters of a row, or of a member that is no list of rows
_BLANK = " \t\r\n"


class JsonStream:
    """The document that is open as `descriptor`, of at most `max_bytes`."""

    def __init__(self, descriptor: int, *, max_bytes: int) -> None:
        self._descriptor, self._left = descriptor, max_bytes
        self._decode = codecs.getincrementaldecoder("utf-8")()
        self._json = json.JSONDecoder()
        self._text, self._at, self._ended = "", 0, False

    def members(self, rows_of: str, on_row: Callable[[Any], None]) -> dict[str, Any]:
        """Return the members of the object, but for the list `rows_of`, whose rows go to `on_row` one by one.

        Raises `InvalidInput` for what is no such document, `OSError`.
        """
        found: dict[str, Any] = {}
        try:
            self._expect("{")
            more = self._peek() != "}"
            while more:
                name = self._value()
                if not isinstance(name, str) or name in found:
                    raise InvalidInput("not a manifest: a name is none, or stands there twice")
                self._expect(":")
                if name == rows_of:
                    found[name] = True
                    self._rows(on_row)
                else:
                    found[name] = self._value()
                more = self._more("}")
        except InvalidInput:
            raise
        except (ValueError, RecursionError) as error:
            raise InvalidInput(f"not a manifest ({type(error).__name__}: {error})") from None
        return found

    def _rows(self, on_row: Callable[[Any], None]) -> None:
        self._expect("[")
        if self._peek() == "]":
            self._at += 1
            return
        while True:
            on_row(self._value())
            if not self._more("]"):
                return

    def _more(self, end: str) -> bool:
        """Read a comma (True), or the end."""
        char = self._peek()
        self._at += 1
        if char not in (",", end):
            raise InvalidInput("not a manifest: something else where a comma should be")
        return char == ","

    def _expect(self, char: str) -> None:
        if self._peek() != char:
            raise InvalidInput(f"not a manifest: {char} was expected")
        self._at += 1

    def _peek(self) -> str:
        """Return the next character that is not blank; nothing at the end."""
        while True:
            while self._at < len(self._text):
                if self._text[self._at] not in _BLANK:
                    return self._text[self._at]
                self._at += 1
            if not self._fill():
                return ""

    def _value(self) -> Any:
        self._peek()
        while True:
            try:
                value, end = self._json.raw_decode(self._text, self._at)
            except json.JSONDecodeError:
                if len(self._text) - self._at > MAX_VALUE or not self._fill():
                    raise
                continue
            if end == len(self._text) and self._fill():
                continue  # a number may go on
            if end - self._at > MAX_VALUE:
                raise InvalidInput("not a manifest: a value is too long")
            self._at = end
            return value

    def _fill(self) -> bool:
        if self._ended:
            return False
        data = os.read(self._descriptor, CHUNK_BYTES)
        self._left -= len(data)
        if self._left < 0:
            raise InvalidInput("too large for a manifest")
        self._ended = not data
        self._text = self._text[self._at :] + self._decode.decode(data, final=self._ended)
        self._at = 0
        return True
