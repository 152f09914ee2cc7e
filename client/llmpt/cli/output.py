"""How the commands show things: tables for people, JSON for programs.

What a terminal's encoding does not have, or is none (a path of bytes), is written as an escape: it ends no command.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import click
from rich import box
from rich.console import Console
from rich.filesize import decimal
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from llmpt.core.words import plain
from llmpt.host.console import plain_console
from llmpt.host.terminal import raw_stream

BAR_WIDTH = 24


class Out(Protocol):
    """What things are shown on: a console, or one frame of what is shown again and again."""

    def print(self, what: Any, /) -> None: ...


json_option: Callable[[Any], Any] = click.option("--json", "as_json", is_flag=True, help="Machine-readable, with all details.")


def console() -> Console:
    """Return the console of stdout."""
    return plain_console()


INTERRUPTED = 130  # 128 + SIGINT, as shells have it


def show_json(value: Any) -> None:
    """Write JSON; what is not printable, or what the terminal's encoding lacks, as JSON's own escapes."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    if not text.replace("\n", "").isprintable():
        text = "".join(char if char.isprintable() or char == "\n" else json.dumps(char)[1:-1] for char in text)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(value, indent=2)
    click.echo(text)


def show_path(before: str, path: Path) -> None:
    """Write a line that ends with a path, in the very bytes of that path: a shell takes it for what it is."""
    out = raw_stream(sys.stdout)
    out.flush()
    click.echo(plain(before).encode() + os.fsencode(path), file=out)


def table(*columns: str, title: str | None = None) -> Table:
    """Make an empty table; what is too long for its column goes on in the next line."""
    made = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        made.add_column(column, overflow="fold")
    return made


def add_row(to: Table, cells: Sequence[str]) -> None:
    """Add a row of plain text: what others named is never read as markup."""
    to.add_row(*map(Text, cells))


def add_bar(to: Table, name: str, done: int, size: int, more: Sequence[str]) -> None:
    """Add a row with a bar of bytes behind the name, and `more` behind the figures."""
    bar = ProgressBar(total=max(size, 1), completed=done, width=BAR_WIDTH)
    to.add_row(Text(name), bar, Text(f"{decimal(done)} of {decimal(size)}"), *map(Text, more))


def count(number: int, one: str, many: str | None = None) -> str:
    """Write `1 file`, `3 files`."""
    return f"{number} {one if number == 1 else many or one + 's'}"
