"""The command `llmpt-tracker`: serve, tokens, and invitations to share."""

from __future__ import annotations

import importlib.util
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from llmpt.core.errors import LlmptError
from llmpt_tracker.settings import TrackerSettings

if TYPE_CHECKING:
    from llmpt_tracker.database.sessions import Database

NEEDED = ("flask", "sqlalchemy", "alembic", "gunicorn", "pydantic")


def main() -> None:
    """Run the command line; what goes wrong is one sentence on stderr and exit status 1."""
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        sys.exit(f"llmpt-tracker needs {', '.join(missing)}: pip install 'llmpt[tracker]'")
    try:
        cli(prog_name="llmpt-tracker")
    except LlmptError as error:
        sys.exit(f"llmpt-tracker: {error}")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="llmpt")
def cli() -> None:
    """The tracker of a LAN: catalogue, announces, and a page that shows them."""


@cli.command()
def serve() -> None:
    """Run the tracker until it is told to stop."""
    settings = TrackerSettings.read()
    from llmpt_tracker.serve import parent  # a wrong setting is told before all this is loaded

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("alembic").setLevel(logging.WARNING)
    sys.exit(parent.serve(settings, os.environ))


@cli.group()
def token() -> None:
    """Tokens of publishers, and of the machines that share."""


@token.command("create")
@click.option("--name", default="made by hand", show_default=True, help="What it is for, shown in the list.")
def create_token(name: str) -> None:
    """Make a token and show it, once."""
    from llmpt_tracker.clock import utc_now
    from llmpt_tracker.rules import tokens

    secret = tokens.new_secret()
    with _database() as database, database.writing() as session:
        tokens.add(session, secret, name=name, now=utc_now())
    click.echo(secret)


@token.command("list")
def list_tokens() -> None:
    """Show every token's number, age, scope and name; never the token."""
    from llmpt_tracker.rules import tokens

    with _database() as database, database.reading() as session:
        for one in tokens.listed(session):
            state = f"revoked {one.revoked_at:%Y-%m-%d %H:%M}" if one.revoked_at else "valid"
            click.echo(f"{one.id:>4}  {one.created_at:%Y-%m-%d %H:%M}  {state}  {one.scope:<7}  {one.name}")


@token.command("revoke")
@click.argument("number", type=int)
def revoke_token(number: int) -> None:
    """Stop token NUMBER of the list from publishing and sharing, for good."""
    from llmpt_tracker.clock import utc_now
    from llmpt_tracker.rules import tokens

    with _database() as database, database.writing() as session:
        name = tokens.revoke(session, number, now=utc_now()).name
    click.echo(f"revoked: {name}")


@cli.command()
@click.option("--uses", default=1, show_default=True, type=click.IntRange(1, 100_000), help="How many machines it lets in.")
@click.option("--days", default=7, show_default=True, type=click.IntRange(1, 3650), help="How long it holds.")
def invite(uses: int, days: int) -> None:
    """Make a code with which machines join, where LLMPT_SHARING=invited, and show it, once."""
    from llmpt_tracker.clock import utc_now
    from llmpt_tracker.rules import invitations

    with _database() as database, database.writing() as session:
        code = invitations.invite(session, uses=uses, days=days, now=utc_now())
    click.echo(code)


@contextmanager
def _database() -> Iterator[Database]:
    settings = TrackerSettings.read()
    from llmpt_tracker.serve.parent import make_data_folder, open_database

    make_data_folder(settings.data)
    with open_database(settings) as database:
        yield database
