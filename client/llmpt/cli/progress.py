"""The bar of a command that moves bytes; on stderr, and only on a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from llmpt.core.words import plain
from llmpt.host.console import plain_console

NAME_WIDTH = 40


def bytes_columns() -> tuple[ProgressColumn, ...]:
    """Return the columns of a bar of bytes: a column belongs to one bar."""
    name = TextColumn("{task.description}", markup=False)
    return (name, BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())


@contextmanager
def bytes_bar(doing: str, total_bytes: int) -> Iterator[Callable[[str, int], None]]:
    """Yield a function that is told of the file in hand, and of the bytes that were done (fewer, when some are done anew)."""
    console = plain_console(stderr=True)
    with Progress(*bytes_columns(), console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(doing, total=total_bytes)

        def moved(name: str, count: int) -> None:
            progress.update(task, advance=count, description=f"{doing} {plain(name[-NAME_WIDTH:])}")

        yield moved
