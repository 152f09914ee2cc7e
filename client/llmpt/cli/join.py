"""`llmpt join` and `llmpt leave`: which tracker this user's downloads ask, written into the config file after a look at it."""

from __future__ import annotations

import os
import re
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

import click

from llmpt.agent.sharing import share_token
from llmpt.cli.meeting import Expected, met
from llmpt.cli.output import json_option, show_json, show_path
from llmpt.core.errors import AgentUnavailable, LlmptError, SettingError, TrackerError, TrackerRefused, TrackerUnavailable
from llmpt.core.settings import url as read_url
from llmpt.link.client import AgentClient
from llmpt.net.connecting import connect
from llmpt.net.names import NAMES
from llmpt.settings import ClientSettings, config_file
from llmpt.settings.known_servers import KnownServer, KnownServers
from llmpt.settings.sources import user_config_file
from llmpt.tracker import discovery
from llmpt.tracker.catalogue import Catalogue
from llmpt.tracker.client import TrackerClient
from llmpt.tracker.wire import reason_of

NAME = "LLMPT_TRACKER"
CONNECT_TIMEOUT_S = 2.0
MAX_CODE = 1000
NAME_S = 10.0  # some name servers answer at the second try


@dataclass(frozen=True, slots=True)
class Checked:
    """A tracker that answered.

    `url`: its address.
    `version`: its version of llmpt.
    `announce`: the host and port at which it takes announces; None: it tells that only to holders of a token.
    `server`: what is to be known of it.
    `client`: a client of it, held to that.
    """

    url: str
    version: str
    announce: tuple[str, int] | None
    server: KnownServer
    client: TrackerClient


@click.command()
@click.argument("url", required=False)
@click.option("--code", help="An invitation (`llmpt-tracker invite`), to share what this machine fetches; - reads it from stdin.")
@click.option("--yes", is_flag=True, help="Without URL: take the only tracker that is found, and don't ask.")
@click.option("--fingerprint", help="Of the server, as its console shows it: no other one is joined.")
@click.option("--certificate", metavar="SHA256", help="Of the server's certificate, where no authority vouches for it.")
@json_option
def join(url: str | None, code: str | None, yes: bool, fingerprint: str | None, certificate: str | None, as_json: bool) -> None:
    """Use the tracker at URL from now on; without URL, look for one on the LAN and ask.

    It is looked at first. Then it is written into your config file, and every program of yours that downloads through
    huggingface_hub in an environment with llmpt asks it.
    """
    settings = ClientSettings.read({name: text for name, text in os.environ.items() if name != NAME} | {NAME: ""})
    expected = Expected.read(fingerprint, certificate, settings.ca, KnownServers.of(os.environ))
    checked = check(address(url), expected) if url else _found(settings, expected, yes=yes)
    server = checked.server
    if code is not None:
        server = replace(server, token=_accept(checked, _asked_for() if code == "-" else code))
    known = KnownServers.of(os.environ)
    before = known.joined(checked.url)
    known.put(server)
    file = user_config_file(os.environ)
    changed = config_file.write(file, NAME, checked.url)
    notes = _notes(checked, os.environ, is_renewed=before is not None and before.certificate != server.certificate)
    if as_json:
        show_json(
            {
                "tracker": checked.url,
                "version": checked.version,
                "fingerprint": server.fingerprint,
                "file": str(file),
                "changed": changed,
                "notes": notes,
            }
        )
        return
    which = "now" if changed else "already"
    show_path(f"{checked.url} answers (llmpt {checked.version}); it is {which} the tracker in ", file)
    for note in notes:
        click.echo(f"note: {note}")
    if server.fingerprint:
        click.echo(f"Its fingerprint is {server.fingerprint}; the server's console shows the same, or it is another server.")
    click.echo(
        "What happens next: downloads through huggingface_hub take files of 1 MiB and more from the LAN, as far as it has\n"
        "them; the first one starts an agent, which goes on seeding. `llmpt status` shows it, `llmpt doctor` checks all of\n"
        "it, `llmpt leave` undoes this."
    )


@click.command()
@json_option
def leave(as_json: bool) -> None:
    """Ask no tracker any more: take it out of your config file. The agent, if one runs, is ended by `llmpt agent stop`."""
    file = user_config_file(os.environ)
    changed = config_file.write(file, NAME, None)
    rest = ClientSettings.read().tracker
    if as_json:
        show_json({"file": str(file), "changed": changed, "tracker": rest})
        return
    show_path(f"{NAME} is {'no longer' if changed else 'not'} set in ", file)
    if rest is not None:
        click.echo(f"note: {rest} is still used, for it is set elsewhere: `llmpt config show` says where")


def address(text: str) -> str:
    """Read what people type for a tracker: a URL, a host, or host:port. Raises `SettingError`."""
    full = text if "://" in text else f"http://{text}"
    if "://" not in text and not re.search(r":\d+$", text.rpartition("]")[2] or text):
        full += ":8000"
    try:
        found = read_url(full)
    except ValueError as error:
        raise SettingError(f"{text!r} is not the address of a tracker: {error}") from None
    if found is None:
        raise SettingError("that is no address; write it as http://server:8000")
    return found


def check(url: str, expected: Expected) -> Checked:
    """Look whether a tracker that is well, and what is expected, answers at `url`; raise `TrackerError` saying what is wrong."""
    client = TrackerClient(url)
    try:
        NAMES.places(client.host, client.port, wait_s=NAME_S)
    except OSError as error:
        raise TrackerUnavailable(f"the name {client.host!r} cannot be resolved: {reason_of(error)}") from None
    client, server = met(url, expected)
    version = Catalogue(client).health()
    try:
        parts = urlsplit(client.contact().announce_url)
    except TrackerRefused as error:
        if error.status not in (401, 403):
            raise
        return Checked(url, version, None, server, client)  # it tells those that may read, and a token may be what is asked for
    host, port = str(parts.hostname), int(parts.port or 80)
    try:
        connect(host, port, wait_s=CONNECT_TIMEOUT_S).close()
    except OSError as error:
        raise TrackerUnavailable(
            f"{url} answers, but port {port}, where it takes announces, does not ({error.strerror or error}): "
            f"open TCP {port} in the server's firewall"
        ) from None
    return Checked(url, version, (host, port), server, client)


def _accept(checked: Checked, code: str) -> str:
    """Hand an invitation in, and keep the token for which it is good where the agent looks; return it. Raises `LlmptError`."""
    token = checked.client.share_token(socket.gethostname()[:64], code)
    try:
        share_token.write(share_token.token_path(checked.url), token)
    except OSError as error:
        raise LlmptError(f"the tracker's token cannot be kept: {error}") from None
    return token


def _asked_for() -> str:
    """Read an invitation from standard input: on a command line, every user of the machine could read it."""
    if sys.stdin.isatty():
        return str(click.prompt("Invitation", hide_input=True, err=True)).strip()
    code = sys.stdin.readline(MAX_CODE).strip()
    if not code:
        raise LlmptError("there is no invitation in standard input: pipe it in, `llmpt join --code - URL < file`")
    return code


def _found(settings: ClientSettings, expected: Expected, *, yes: bool) -> Checked:
    """Look for trackers on the LAN, and have the person choose."""
    if not settings.discovery:
        raise SettingError("give the server's address, `llmpt join http://server:8000`: LLMPT_DISCOVERY=0 forbids to look for it")
    announced = discovery.find(settings.peer_cidrs)
    found = [one for one in (_answering(one, expected) for one in announced) if one is not None]
    if not found:
        raise LlmptError("no tracker announces itself on this LAN; give its address: `llmpt join http://server:8000`")
    for number, (name, checked) in enumerate(found, 1):
        by = checked.server.fingerprint or "none"
        click.echo(f"{number}  {name}: {checked.url} (llmpt {checked.version}), fingerprint {by}", err=True)
    if yes and len(found) == 1:
        return found[0][1]
    if not sys.stdin.isatty():
        raise LlmptError("whose tracker it is only you can know: give its address, `llmpt join URL`")
    if len(found) == 1:
        click.confirm("Use it? Any machine of the LAN can announce one", abort=True, err=True)
        return found[0][1]
    chosen: int = click.prompt("Which one? Any machine of the LAN can announce one", type=click.IntRange(1, len(found)), err=True)
    return found[chosen - 1][1]


def _answering(one: discovery.Announced, expected: Expected) -> tuple[str, Checked] | None:
    for url in one.urls:
        try:
            return one.name, check(url, expected)
        except (TrackerError, SettingError) as error:
            click.echo(f"llmpt: {one.name}: {error}", err=True)
    return None


def _notes(checked: Checked, environ: Mapping[str, str], *, is_renewed: bool) -> list[str]:
    """What stands in the way of the new setting, or of its effect; `is_renewed`: another certificate counts from now on."""
    notes = []
    if environ.get(NAME, "").strip() not in ("", checked.url):
        notes.append(f"{NAME}={environ[NAME]} in the environment wins over the file; unset it")
    try:
        running = AgentClient(ClientSettings.read(), environ=environ).status()
    except AgentUnavailable:
        return notes
    uses = running.get("tracker")
    if uses != checked.url or is_renewed:
        what = f"uses {uses}" if uses != checked.url else "holds the server to the certificate of before"
        notes.append(f"an agent runs that {what}: `llmpt agent stop`, and the next download starts a new one")
    return notes
