"""`llmpt-tracker queue`: what is to be fetched from upstream, and the operator's word on it."""

from __future__ import annotations

import click

from llmpt.core.mirrors import OPEN
from llmpt.core.words import plain
from llmpt_tracker.cli.database import opened
from llmpt_tracker.cli.repos import repo_named

SHOWN = 200


@click.group()
def queue() -> None:
    """What is fetched from upstream (LLMPT_UPSTREAM): cancel it, or pin a repo."""


@queue.command("list")
def list_queue() -> None:
    """Show what is pinned, and what is to be fetched, in the order in which it is."""
    from llmpt_tracker.clock import utc_now
    from llmpt_tracker.rules import mirrors, orders

    with opened() as database, database.reading() as session:
        pinned = orders.pinned(session)
        found, more = mirrors.next_page(session, states=OPEN, limit=SHOWN, after=None, listings=True, now=utc_now())
    for repo in pinned:
        click.echo(f"pinned  {repo}")
    for one in found:
        files = ", ".join(one.ask.include) or "(its listing)"
        said, why = one.report, f"  {one.error.message}" if one.error else ""
        click.echo(
            plain(f"{one.id:>6}  {one.state.value:<7}  {said.bytes_done} of {said.bytes_total} B  {one.ask}  {files}{why}")
        )
    if not found:
        click.echo("nothing is to be fetched")
    if more is not None:
        click.echo(f"…and more after these {SHOWN}")


@queue.command()
@click.argument("what", metavar="NUMBER|REPO")
def cancel(what: str) -> None:
    """Cancel what has this NUMBER in the list, or all of REPO (org/name, datasets/org/name); it stops within ten seconds."""
    from llmpt_tracker.clock import utc_now
    from llmpt_tracker.rules import audit, orders

    with opened() as database, database.writing() as session:
        if what.isascii() and what.isdigit():
            gone = orders.cancel_one(session, int(what), audit.OPERATOR, now=utc_now())
            click.echo(f"cancelled: {gone.ask}")
        else:
            count = orders.cancel_repo(session, repo_named(what), audit.OPERATOR, now=utc_now())
            click.echo(f"cancelled: {count} of {repo_named(what)}")


@queue.command()
@click.argument("repo")
def pin(repo: str) -> None:
    """Fetch files of REPO before others, and drop none of them to make room."""
    from llmpt_tracker.clock import utc_now
    from llmpt_tracker.rules import audit, orders

    with opened() as database, database.writing() as session:
        orders.pin(session, repo_named(repo), audit.OPERATOR, now=utc_now())
    click.echo(f"pinned: {repo_named(repo)}")


@queue.command()
@click.argument("repo")
def unpin(repo: str) -> None:
    """Let REPO go as others do."""
    from llmpt_tracker.clock import utc_now
    from llmpt_tracker.rules import audit, orders

    with opened() as database, database.writing() as session:
        orders.unpin(session, repo_named(repo), audit.OPERATOR, now=utc_now())
    click.echo(f"not pinned any more: {repo_named(repo)}")
