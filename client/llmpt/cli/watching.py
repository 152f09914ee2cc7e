"""What is shown again and again, on the whole of a terminal, until Ctrl-C; the terminal is then as it was before."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from llmpt.cli.output import Out

EVERY_S = 1.0


def is_screen(out: Console) -> bool:
    """Say whether something can be shown in place there: not in a pipe, and not on a terminal that only writes on."""
    return out.is_terminal and not out.is_dumb_terminal


def watched(out: Console, show: Callable[[Out], None], *, every_s: float = EVERY_S) -> None:
    """Have `show` fill a frame, and put that on the screen, until Ctrl-C."""
    try:
        with Live(console=out, screen=True, auto_refresh=False, redirect_stdout=False, redirect_stderr=False) as live:
            while True:
                frame = _Frame()
                show(frame)
                live.update(Group(*frame.parts), refresh=True)
                time.sleep(every_s)
    except KeyboardInterrupt:
        pass  # which is how it ends


class _Frame:
    """What is to be seen at one moment."""

    def __init__(self) -> None:
        self.parts: list[Any] = []

    def print(self, what: Any, /) -> None:
        self.parts.append(Text(what) if isinstance(what, str) else what)
