"""The command `llmpt-seeder`: run, scan, health."""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import click

from llmpt.core.errors import LlmptError, StateUnavailable
from llmpt.host import encoding
from llmpt.host.logs import log_to_stderr
from llmpt.host.terminal import PlainGroup
from llmpt.host.tokens import forget_tokens
from llmpt_seeder.errors import NoLife
from llmpt_seeder.settings import SeederSettings

EXTRAS = ("yaml",)


@contextmanager
def _told() -> Iterator[None]:
    """Turn what can go wrong for the operator into one line and exit code 1."""
    try:
        yield
    except (OSError, StateUnavailable) as error:
        raise click.ClickException(f"the seeder's own state (LLMPT_DATA): {error}") from None
    except LlmptError as error:
        raise click.ClickException(str(error)) from None


@click.group(cls=PlainGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="llmpt")
def main() -> None:
    """Share a Hugging Face cache with the LAN: hash, publish, seed. Settings come from the environment."""
    encoding.read_names_as_utf8()


@main.command()
@click.option("--verbose", is_flag=True, help="Say more.")
def run(verbose: bool) -> None:
    """Publish and seed the cache until told to stop."""
    _need_extra()
    with _told():
        settings = SeederSettings.read()
        log_to_stderr(settings.log, level=logging.DEBUG if verbose else logging.INFO)
        forget_tokens(os.environ)
        from llmpt_seeder.app import run as run_seeder  # libtorrent is loaded only here

        code = run_seeder(settings)
    sys.exit(code)


@main.command()
@click.option("--dry-run", is_flag=True, help="Write nothing, not even what the Hub answered.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def scan(dry_run: bool, as_json: bool) -> None:
    """List every repo of the caches: what is shared, what is not, and why. No blob is read."""
    from llmpt.hub.visibility import ask_hub
    from llmpt_seeder.cache.misplaced import what_it_is
    from llmpt_seeder.report import lines, open_memory

    with _told():
        settings = SeederSettings.read()
        with open_memory(settings.database, dry=dry_run) as memory:
            ask = partial(ask_hub, settings.hub or "https://huggingface.co")
            caches = list(dict.fromkeys((settings.cache, settings.mirror_cache)))
            found = list(lines(caches, settings.repos, memory=memory, ask=ask, clock=time.time))
    if not any(line.cache == str(settings.cache) for line in found) and (words := what_it_is(settings.cache)):
        click.echo(words, err=True)
    if as_json:
        click.echo(json.dumps([line.as_json() for line in found], indent=2))
    else:
        for cache in caches:
            its = [line for line in found if line.cache == str(cache)]
            if its or cache == settings.cache:
                _print_table(its, cache)


@main.command()
def health() -> None:
    """Exit with 0 when a seeder is well here (also while it hashes), 1 with what does not work, 2 when none lives."""
    from llmpt_seeder.life import what_is_wrong

    with _told():
        settings = SeederSettings.read()
        try:
            problem = what_is_wrong(settings.alive_file, now=time.time())
        except NoLife as error:
            click.echo(f"Error: {error}", err=True)
            sys.exit(2)
    if problem is not None:
        raise click.ClickException(problem)
    click.echo("alive")


def _need_extra(find: Callable[[str], Any] = importlib.util.find_spec) -> None:
    if any(find(name) is None for name in EXTRAS):
        raise click.ClickException("this is the light client; the seeder needs more: pip install 'llmpt[seeder]'")


def _print_table(found: list[Any], cache: Any) -> None:
    from rich.filesize import decimal
    from rich.table import Table
    from rich.text import Text

    from llmpt.host.console import plain_console

    console = plain_console()
    if not found:
        console.print(f"No repo in {cache}.")
        return
    table = Table(title=Text(f"{len(found)} repos in {cache}"))
    for name in ("repo", "revisions", "files", "size", "shared", "reason"):
        table.add_column(name, justify="right" if name in ("revisions", "files", "size") else "left", overflow="fold")
    for line in found:
        verdict = Text("yes", "green") if line.shared else Text("no", "red")
        counts = str(line.revisions), str(line.files), decimal(line.size)
        table.add_row(line.name, *counts, verdict, line.reason)
    console.print(table)
    for line in found:
        for problem in line.problems:
            console.print(Text.assemble((problem.what, "yellow"), f": {problem.reason}"))
