"""The one way out to a terminal: whatever a command, a library or a log writes, no control character goes through.

What comes from a network or a disk is parsed where it enters, and most of it could hold none. But a terminal obeys whatever
it is sent, and a message may quote what was refused. So each command is a `PlainGroup`, whose streams let nothing through but
printable text, tabs and line ends; colours are made by `llmpt.host.console`, of text that was cleaned before.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO

import click

from llmpt.core.words import plain_lines


class PlainStream(io.TextIOBase):
    """A text stream before `raw`. It shows no binary buffer: libraries would write past it."""

    def __init__(self, raw: TextIO) -> None:
        self.raw = raw

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self.raw.encoding or "utf-8"

    @property
    def errors(self) -> str | None:  # type: ignore[override]
        return self.raw.errors

    def write(self, text: str | bytes) -> int:
        """Write what is printable of it, and `?` for the rest; what the encoding lacks as an escape."""
        shown = plain_lines(text if isinstance(text, str) else text.decode(self.encoding, "replace"))
        with suppress(LookupError):
            shown = shown.encode(self.encoding, "backslashreplace").decode(self.encoding)
        self.raw.write(shown)
        return len(text)

    def flush(self) -> None:
        self.raw.flush()

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return self.raw.isatty()

    def fileno(self) -> int:
        return self.raw.fileno()


class PlainGroup(click.Group):
    """A group of commands that write plainly; so do the errors of their command lines."""

    def main(self, *args: Any, **more: Any) -> Any:
        with plainly():
            return super().main(*args, **more)


@contextmanager
def plainly() -> Iterator[None]:
    """Let the standard streams of this process be plain."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = map(_plain_stream, before)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


@contextmanager
def as_it_is() -> Iterator[None]:
    """Let a program of the user's, or a library's progress bars, have the terminal itself."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = map(raw_stream, before)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def raw_stream(stream: Any) -> Any:
    """Return what lies behind a plain stream: only for what is cleaned, or is the user's own."""
    return stream.raw if isinstance(stream, PlainStream) else stream


def _plain_stream(stream: Any) -> Any:
    return stream if stream is None or isinstance(stream, PlainStream) else PlainStream(stream)
