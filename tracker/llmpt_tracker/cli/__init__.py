"""The command `llmpt-tracker`: serve, health, tokens, invitations, the queue of what is fetched, the audit log, and backups."""

from __future__ import annotations

import importlib.util
import logging
import os
import sys
from urllib.parse import urlsplit

import click

from llmpt.core.errors import LlmptError
from llmpt.core.words import plain
from llmpt.host.logs import log_to_stderr
from llmpt.host.terminal import PlainGroup
from llmpt_tracker.cli import audit, backup, queue, ref, token
from llmpt_tracker.cli.database import opened
from llmpt_tracker.settings import TrackerSettings

NEEDED = ("flask", "sqlalchemy", "alembic", "gunicorn", "pydantic", "cryptography")


def main() -> None:
    """Run the command line; what goes wrong is one sentence on stderr and exit status 1."""
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        sys.exit(f"llmpt-tracker needs {', '.join(missing)}: pip install 'llmpt[tracker]'")
    try:
        cli(prog_name="llmpt-tracker")
    except LlmptError as error:
        sys.exit(f"llmpt-tracker: {plain(error)}")


@click.group(cls=PlainGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="llmpt")
def cli() -> None:
    """The tracker of a LAN: catalogue, announces, and a page that shows them."""


@cli.command()
def serve() -> None:
    """Run the tracker until it is told to stop."""
    settings = TrackerSettings.read()
    from llmpt_tracker.serve import parent  # a wrong setting is told before all this is loaded

    log_to_stderr(settings.log)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    sys.exit(parent.serve(settings, os.environ))


@cli.command()
def health() -> None:
    """Exit with 0 when the tracker of this host does its work, 1 when it says why it can't, 2 when it does not answer."""
    from llmpt_tracker.serve.health import how_it_is

    settings = TrackerSettings.read()
    try:
        well, said = how_it_is(settings)
    except OSError as error:
        click.echo(f"no tracker answers on port {settings.http_port}: {error}", err=True)
        sys.exit(2)
    click.echo(said, err=not well)
    sys.exit(0 if well else 1)


@cli.command()
@click.option("--uses", default=1, show_default=True, type=click.IntRange(1, 100_000), help="How many machines it lets in.")
@click.option("--days", default=7, show_default=True, type=click.IntRange(1, 3650), help="How long it holds.")
@click.option("--read", metavar="PATTERN", help="They may read these repos, too, where that takes a token; * for all.")
def invite(uses: int, days: int, read: str | None) -> None:
    """Make a code with which machines join, and show it, once: where LLMPT_SHARING=invited, or where reading takes a token."""
    from llmpt_tracker.clock import utc_now
    from llmpt_tracker.rules import audit, invitations
    from llmpt_tracker.rules.rights import Rights

    rights = invitations.SHARERS if read is None else Rights.read("share,read", None if read == "*" else read)
    with opened() as database, database.writing() as session:
        code = invitations.invite(session, rights, uses=uses, days=days, now=utc_now())
        audit.note(session, audit.INVITED, audit.OPERATOR, now=utc_now(), uses=uses, days=days, read=read)
    click.echo(code)


@cli.command()
def fingerprint() -> None:
    """Show the fingerprint by which this server is known: what `llmpt join` and `llmpt import` ask their user to compare."""
    settings = TrackerSettings.read()
    from llmpt_tracker.serve.key_file import ensure_key
    from llmpt_tracker.serve.parent import make_data_folder

    make_data_folder(settings.data)
    click.echo(ensure_key(settings.key_file).public.fingerprint)


@cli.command("dist")
@click.argument("url", default="http://SERVER:8000")
def show_dist(url: str) -> None:
    """Show the lines with which workstations install the client from this server at URL, each with its hash."""
    from llmpt.core.settings import url as read_url
    from llmpt_tracker.rules import dist

    try:
        base = read_url(url) or ""
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    found = dist.lines(TrackerSettings.read().dist, base, urlsplit(base).hostname or "")
    if found is None:
        raise LlmptError("this server has no client to hand out: LLMPT_DIST names no folder with one")
    click.echo(found.online)
    if found.offline:
        click.echo("\n# without any Internet:")
        click.echo("\n".join(found.offline))


for command in (token.token, ref.ref, queue.queue, audit.audit, backup.backup, backup.restore):
    cli.add_command(command)
