"""Tables, bars and colours on a terminal, of text in which nothing is markup and nothing is obeyed."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.segment import Segment

from llmpt.core.words import plain_lines
from llmpt.host.terminal import raw_stream

WIDE = 200  # columns, where no terminal says how many it has: a pipe gets whole lines


class PlainConsole(Console):
    """A console that writes of any text what is printable."""

    def render(self, *args: Any, **more: Any) -> Iterable[Segment]:
        for segment in super().render(*args, **more):
            is_text = not segment.control and not segment.text.isprintable()
            yield Segment(plain_lines(segment.text), segment.style) if is_text else segment


def plain_console(*, stderr: bool = False) -> PlainConsole:
    """Return the console of this process's output; brackets in a text are brackets."""
    stream = raw_stream(sys.stderr if stderr else sys.stdout)
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")
    is_terminal = Console(file=stream).is_terminal
    return PlainConsole(file=stream, markup=False, emoji=False, highlight=False, width=None if is_terminal else WIDE)
