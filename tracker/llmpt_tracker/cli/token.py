"""`llmpt-tracker token`: make, show, rotate and revoke tokens."""

from __future__ import annotations

from datetime import datetime, timedelta

import click

from llmpt_tracker.cli.database import opened
from llmpt_tracker.cli.moments import MomentType, SpanType
from llmpt_tracker.settings import TrackerSettings


@click.group()
def token() -> None:
    """Tokens: of publishers, of readers, and of the machines that share."""


@token.command()
@click.option("--name", default="made by hand", show_default=True, help="What it is for, shown in the list.")
@click.option(
    "--scope",
    default="publish",
    show_default=True,
    help="What it may do: publish, mirror, read, admin, share; several with commas.",
)
@click.option("--repos", help="For which repos: patterns as in LLMPT_REPOS, separated by commas; all without it.")
@click.option("--expires", type=MomentType(), help="Until when: a date, or a time from now such as 90d; for ever without it.")
def create(name: str, scope: str, repos: str | None, expires: datetime | None) -> None:
    """Make a token and show it, once."""
    from llmpt_tracker.clock import utc_now
    from llmpt_tracker.rules import audit, tokens
    from llmpt_tracker.rules.rights import Rights

    rights = Rights.read(scope, repos, expires_at=expires)
    secret = tokens.new_secret(*rights.scopes)
    with opened() as database, database.writing() as session:
        made = tokens.grant(session, secret, rights, name=name, now=utc_now())
        audit.note(session, audit.TOKEN_MADE, audit.OPERATOR, now=utc_now(), **tokens.described(made))
    click.echo(secret)


@token.command("list")
def list_tokens() -> None:
    """Show every token's number, age, end, last use, scope, repos and name; never the token."""
    from llmpt_tracker.clock import utc_now
    from llmpt_tracker.rules import tokens

    now = utc_now()
    with opened() as database, database.reading() as session:
        for one in tokens.listed(session):
            state = f"revoked {_minute(one.revoked_at)}" if one.revoked_at else "valid"
            if one.revoked_at is None and one.expires_at is not None:
                state = f"{'expired' if one.expires_at <= now else 'until'} {_minute(one.expires_at)}"
            used = f"used {_minute(one.last_used_at)}" if one.last_used_at else "never used"
            line = f"{one.id:>4}  {_minute(one.created_at)}  {state}  {used}  {one.scope:<7}  {one.repos or '*'}  {one.name}"
            click.echo(line)


@token.command()
@click.argument("number", type=int)
def revoke(number: int) -> None:
    """Stop token NUMBER of the list from doing anything, for good."""
    from llmpt_tracker.clock import utc_now
    from llmpt_tracker.rules import audit, tokens

    with opened() as database, database.writing() as session:
        one = tokens.revoke(session, number, now=utc_now())
        audit.note(session, audit.TOKEN_REVOKED, audit.OPERATOR, now=utc_now(), **tokens.described(one))
        name = one.name
    click.echo(f"revoked: {name}")


@token.command()
@click.argument("number", type=int)
@click.option(
    "--overlap",
    type=SpanType(),
    default="1d",
    show_default=True,
    help="For so long the old secret stays valid: 30m, 12h, 7d; 0m ends it at once.",
)
def rotate(number: int, overlap: timedelta) -> None:
    """Give token NUMBER of the list a new secret and show it, once. The seeder beside this tracker gets it through its file."""
    from llmpt_tracker.clock import utc_now
    from llmpt_tracker.rules import audit, tokens
    from llmpt_tracker.serve.token_file import replace_token

    file = TrackerSettings.read().token_file
    with opened() as database, database.writing() as session:
        one, secret = tokens.rotate(session, number, now=utc_now(), overlap=overlap)
        audit.note(session, audit.TOKEN_ROTATED, audit.OPERATOR, now=utc_now(), **tokens.described(one))
        if one.appliance:
            replace_token(file, secret)
            secret = f"rotated: {one.name}; the new secret is in {file}"
    click.echo(secret)


def _minute(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M}" if moment else ""
