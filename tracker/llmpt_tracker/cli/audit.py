"""`llmpt-tracker audit`: the audit log, the oldest line first."""

from __future__ import annotations

import json
from datetime import datetime

import click

from llmpt_tracker.cli.database import opened
from llmpt_tracker.cli.moments import MomentType


@click.command()
@click.option("--since", type=MomentType(ago=True), help="From when: a date, or how long ago, such as 7d or 12h; all without it.")
@click.option("--json", "as_json", is_flag=True, help="A JSON object in each line.")
def audit(since: datetime | None, as_json: bool) -> None:
    """Show who published, moved, made, revoked, reported and was refused what."""
    from llmpt_tracker.rules import audit as rules

    with opened() as database, database.reading() as session:
        for one in rules.entries(session, since=since):
            if as_json:
                click.echo(json.dumps(one.as_json()))
                continue
            who = f"{one.actor.token or '-'}" + (f" (token {one.actor.token_id})" if one.actor.token_id is not None else "")
            times = f" {one.times} times" if one.times != 1 else ""
            detail = " ".join(f"{name}={value}" for name, value in one.detail.items() if value not in (None, ""))
            line = f"{one.at:%Y-%m-%d %H:%M:%S}  {one.event}{times}  {who}  {one.actor.address or '-'}  {detail}"
            click.echo("".join(char if char.isprintable() else "?" for char in line))
