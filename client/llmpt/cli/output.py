"""How the commands show things: tables for people, JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import click
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

WIDE = 200  # columns, where no terminal says how many it has: a pipe gets whole lines

json_option: Callable[[Any], Any] = click.option("--json", "as_json", is_flag=True, help="Machine-readable, with all details.")


def console() -> Console:
    found = Console(highlight=False)
    return found if found.is_terminal else Console(highlight=False, width=WIDE)


INTERRUPTED = 130  # 128 + SIGINT, as shells have it


def show_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def table(*columns: str, title: str | None = None) -> Table:
    """Make an empty table; what is too long for its column goes on in the next line."""
    made = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        made.add_column(column, overflow="fold")
    return made


def add_row(to: Table, cells: Sequence[str]) -> None:
    """Add a row of plain text: what others named is never read as markup."""
    to.add_row(*map(Text, cells))


def count(number: int, one: str, many: str | None = None) -> str:
    """Write `1 file`, `3 files`."""
    return f"{number} {one if number == 1 else many or one + 's'}"
