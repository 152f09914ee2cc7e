"""`llmpt import`: what `llmpt export` wrote, into a Hub cache of a place without network."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from rich.filesize import decimal

from llmpt.archive.folder import ExportFolder
from llmpt.archive.importing import Import, Imported, Offer, Policy, RefChange
from llmpt.cli.output import add_row, console, json_option, show_json, table
from llmpt.cli.progress import bytes_bar
from llmpt.core.errors import InvalidInput, LlmptError
from llmpt.core.settings import hub_cache
from llmpt.core.settings import path as expanded
from llmpt.identity.keys import Fingerprint
from llmpt.identity.statement import Signature
from llmpt.settings.known_servers import KnownServer, KnownServers


@dataclass(frozen=True, slots=True)
class Told:
    """What the user says of it in advance.

    trust: fingerprints of servers whose signature counts, from now on
    unsigned: what nobody has signed is taken, too
    yes: refs may be made and moved
    """

    trust: frozenset[Fingerprint]
    unsigned: bool
    yes: bool


@click.command("import")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@click.option("--cache", type=click.Path(path_type=Path, file_okay=False), help="Into this Hub cache; default HF_HUB_CACHE.")
@click.option("--trust", metavar="FINGERPRINT", multiple=True, help="Take what the server with this key signed, from now on.")
@click.option("--unsigned", is_flag=True, help="Take what nobody signed: the disk alone says then what its files are.")
@click.option("--yes", is_flag=True, help="Make and move refs, such as main, without asking.")
@json_option
def import_(folder: Path, cache: Path | None, trust: tuple[str, ...], unsigned: bool, yes: bool, as_json: bool) -> None:
    """Put the export in DIR into the Hub cache, every file checked against its etag, every list against its signature.

    Run again, it goes on where it stopped. Exit code 1 when something of it was wrong, or of a server that is not known here, and
    left out.
    """
    target = cache if cache is not None else expanded(hub_cache(os.environ))
    told = Told(frozenset(map(_fingerprint, trust)), unsigned, yes)
    known = KnownServers.of(os.environ)
    work = Import(ExportFolder.open(folder), target, Policy(_trusting(known, told), told.unsigned))
    offers = work.offers()
    work.check_room(offers)
    if not as_json:
        _show_signers(offers, known)
    _ask(work.changes(offers), told)
    _remember(offers, known, told)
    with bytes_bar("importing", sum(offer.bytes_here for offer in offers)) as on_bytes:
        done = [work.revision(offer, on_bytes) for offer in offers]
    if as_json:
        problems = [{"what": problem.what, "reason": problem.reason} for problem in work.problems]
        show_json({"cache": str(target), "revisions": [_as_json(one) for one in done], "problems": problems})
    else:
        _show(done, target)
        for problem in work.problems:
            click.echo(f"llmpt: {problem.what}: {problem.reason}", err=True)
    sys.exit(1 if work.problems else 0)


def _fingerprint(text: str) -> Fingerprint:
    try:
        return Fingerprint.parse(text)
    except InvalidInput as error:
        raise click.BadParameter(str(error), param_hint="--trust") from None


def _trusting(known: KnownServers, told: Told) -> Any:
    fingerprints = {one.fingerprint for one in known.all()} | set(map(str, told.trust))
    return lambda signature: str(signature.key.fingerprint) in fingerprints


def _remember(offers: list[Offer], known: KnownServers, told: Told) -> None:
    """Know the servers that the user trusts, and whose signature was seen, from now on."""
    for signer in {offer.signer.key: offer.signer for offer in offers if offer.signer is not None}.values():
        fingerprint = signer.key.fingerprint
        if fingerprint in told.trust and known.signer(str(fingerprint)) is None:
            known.put(KnownServer(str(fingerprint), signer.name))


def _show_signers(offers: list[Offer], known: KnownServers) -> None:
    for offer in offers:
        signer = offer.signer
        by = "nobody: the disk alone says what it is" if signer is None else f"{_named(signer, known)}, {signer.key.fingerprint}"
        click.echo(f"{offer.ref} at {offer.commit.short} is signed by {by}", err=True)


def _named(signer: Signature, known: KnownServers) -> str:
    """Return what a server is called here, and by itself where that is something else."""
    here = known.signer(str(signer.key.fingerprint))
    return signer.name if here is None or here.name == signer.name else f"{here.name} (calls itself {signer.name})"


def _ask(changes: list[RefChange], told: Told) -> None:
    if not changes or told.yes:
        return
    for change in changes:
        before = "is made, and names" if change.before is None else f"names {change.before[:12]!r} now, and is moved to"
        click.echo(f"{change.ref} of {change.offer.ref} {before} {change.offer.commit.short}", err=True)
    if not sys.stdin.isatty():
        raise LlmptError("nothing was imported: whether refs may be made and moved so, say with --yes")
    click.confirm("Programs that ask for these refs get what is on the disk. Go on?", abort=True, err=True)


def _show(done: list[Imported], target: Path) -> None:
    made = table("repo", "commit", "files", "copied", title=f"into {target}")
    for one in done:
        files = f"{one.files} of {one.known}"
        add_row(made, [str(one.offer.ref), one.offer.commit.short, files, decimal(one.copied_bytes)])
    console().print(made)
    for one in done:
        for ref, before in one.moved_refs:
            click.echo(f"{ref} of {one.offer.ref} was {before[:12]!r} and is {one.offer.commit.short} now")


def _as_json(one: Imported) -> dict[str, Any]:
    signer = one.offer.signer
    return {
        "repo_type": one.offer.ref.type,
        "repo_id": one.offer.ref.id,
        "commit": one.offer.commit.value,
        "signed_by": None if signer is None else {"name": signer.name, "fingerprint": str(signer.key.fingerprint)},
        "files": one.files,
        "copied_bytes": one.copied_bytes,
        "moved_refs": [{"ref": ref.value, "before": before} for ref, before in one.moved_refs],
    }
