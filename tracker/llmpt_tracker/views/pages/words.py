"""Figures, ages and texts as pages write them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from flask import Blueprint
from markupsafe import Markup

from llmpt.core.words import plain_lines
from llmpt_tracker.rules.catalogue.repos import RevisionSummary
from llmpt_tracker.state import state


def shown(value: object) -> object:
    """Return what a page shows of a value: of a text that a stranger chose, such as a file's name, what is printable."""
    return plain_lines(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def human_bytes(size: int) -> str:
    """Write a number of bytes as people read it: 90.9 MB (powers of 1000, as the Hub does)."""
    value, units = float(size), ["B", "kB", "MB", "GB", "TB", "PB"]
    while value >= 999.5 and len(units) > 1:
        value /= 1000
        units.pop(0)
    return f"{value:.0f} {units[0]}" if units[0] == "B" or value >= 99.95 else f"{value:.1f} {units[0]}"


def files_here(revision: RevisionSummary) -> str:
    """Write how many of a revision's files are here: 7 of 11; one number when all that are known are."""
    files, here = human_count(revision.files), human_count(revision.files_here)
    return files if here == files else f"{here} of {files}"


def human_ago(seconds: float) -> str:
    """Write an age as people say it."""
    for length, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit} ago"
    return f"{seconds:.0f} s ago"


def human_when(moment: datetime) -> str:
    """Write how long ago a moment was."""
    return human_ago(max((state().clock() - moment).total_seconds(), 0))


def human_count(number: int) -> str:
    """Write a number with its thousands apart: 100,000."""
    return f"{number:,}"


def counted(number: int, one: str, many: str | None = None) -> str:
    """Write how many there are of something: 1 file, 2 files."""
    return f"{human_count(number)} {one if number == 1 else many or one + 's'}"


FILTERS: dict[str, Callable[..., Any]] = {
    "bytes": human_bytes,
    "files_here": files_here,
    "ago": human_ago,
    "when": human_when,
    "count": human_count,
    "counted": counted,
}


def install(blueprint: Blueprint) -> None:
    """Give these to the templates of the application, by their names there."""
    for name, function in FILTERS.items():
        blueprint.add_app_template_filter(function, name)
