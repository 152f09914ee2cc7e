"""`llmpt doctor`: what is wrong, and what to do about it."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict

import click
from rich.text import Text

from llmpt.cli.output import console, json_option, show_json
from llmpt.doctor import FAIL, OK, SKIP, WARN, Context, examine

_MARKS = {OK: ("ok  ", "green"), WARN: ("warn", "yellow"), FAIL: ("FAIL", "red"), SKIP: ("–   ", "dim")}


@click.command()
@json_option
def doctor(as_json: bool) -> None:
    """Check everything that downloads from the LAN depend on. Exit code 1 when something fails (a warning does not)."""
    found = []
    out = console()
    for name, finding in examine(Context(os.environ)):
        found.append((name, finding))
        if not as_json:
            mark, style = _MARKS[finding.outcome]
            out.print(Text.assemble((mark, style), f"  {name}: {finding.message}"), soft_wrap=True)
            if finding.remedy:
                out.print(Text(f"      → {finding.remedy}"), soft_wrap=True)
    if as_json:
        show_json({"findings": [{"check": name, **asdict(finding)} for name, finding in found]})
    sys.exit(1 if any(finding.outcome == FAIL for _, finding in found) else 0)
