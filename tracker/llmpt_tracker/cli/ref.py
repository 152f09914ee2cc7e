"""`llmpt-tracker ref`: where refs point and whose they are, and the operator's word on it."""

from __future__ import annotations

import click

from llmpt.core.repo import check_commit, check_ref
from llmpt_tracker.cli.database import opened
from llmpt_tracker.cli.repos import repo_named


@click.group()
def ref() -> None:
    """Refs of repos: a publisher's own moves with its word, any with yours."""


@ref.command("list")
@click.argument("repo", required=False)
def list_refs(repo: str | None) -> None:
    """Show the refs of REPO (org/name, datasets/org/name), or of all: where each points, and whose it is."""
    from llmpt_tracker.rules import refs

    with opened() as database, database.reading() as session:
        for one in refs.listed(session, None if repo is None else repo_named(repo)):
            click.echo(f"{one.commit}  {one.repo}  {one.name}  {one.owner or '(nobody)'}")


@ref.command("set")
@click.argument("repo")
@click.argument("name")
@click.argument("commit")
def set_ref(repo: str, name: str, commit: str) -> None:
    """Let ref NAME of REPO point at COMMIT, which is published: it belongs to that commit's publisher from then on."""
    from llmpt_tracker.clock import utc_now
    from llmpt_tracker.rules import audit, refs

    named = repo_named(repo)
    with opened() as database, database.writing() as session:
        one = refs.confirm(session, named, check_ref(name), check_commit(commit))
        audit.note(session, audit.REF_SET, audit.OPERATOR, now=utc_now(), repo=str(named), refs=[name], commit=commit)
    click.echo(f"{one.repo} {one.name} is at {one.commit}, and is moved by {one.owner or 'the next publisher of it'}")
