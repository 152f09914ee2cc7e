"""Checks of the tracker: does it answer, is it of our time and version, can it be announced to."""

from __future__ import annotations

import itertools
from urllib.parse import SplitResult, urlsplit

from llmpt.core.blob import Etag
from llmpt.core.errors import TrackerError
from llmpt.doctor import probe
from llmpt.doctor.context import Context
from llmpt.doctor.finding import Finding, fail, ok, skip, warn
from llmpt.link.versions import is_newer, own_version
from llmpt.net.connecting import connect
from llmpt.tracker.blobs import BlobHttp

CLOCK_S = 60.0
CONNECT_TIMEOUT_S = 2.0
SEEDED_TRIED = 5  # files: some may be seeded by agents alone

_REMEDIES = {
    probe.NAME: "name the server by its address, or have its name put into DNS or /etc/hosts; then `llmpt join` again",
    probe.CONNECTION: "is the server up, and its port open in its firewall? Is the port right? Else `llmpt join` again",
    probe.ANSWER: "something accepts connections there and is silent: look at the server's log, restart it",
    probe.KIND: "another program has that port: `llmpt join` with the tracker's own address",
    probe.HEALTH: "look at the server's log (`docker compose logs`)",
}
_WHAT = {
    probe.NAME: "the name of {url} cannot be resolved",
    probe.CONNECTION: "no connection to {url}",
    probe.ANSWER: "{url} accepts the connection and does not answer",
    probe.KIND: "{url} is no llmpt tracker",
    probe.HEALTH: "{url} is not well",
}


def answers(context: Context) -> Finding:
    """Does the tracker answer, step by step: name, connection, answer, JSON of ours, health?"""
    if context.client is None or context.probe is None:
        return skip("no tracker is set")
    found = context.probe
    if found.well:
        return ok(f"{context.client.url} answers ({found.address}, llmpt {found.version})")
    return fail(f"{_WHAT[found.step].format(url=context.client.url)}: {found.reason}", _REMEDIES[found.step])


def version(context: Context) -> Finding:
    """Do the tracker's version and ours work together?"""
    if context.probe is None or not context.probe.well:
        return skip("the tracker does not answer")
    ours, theirs = own_version(), context.probe.version
    if context.whoami is not None and is_newer(context.whoami.oldest_client, ours):
        oldest = context.whoami.oldest_client
        return fail(
            f"this llmpt is {ours}, and the tracker wants {oldest} or later", "update llmpt here: the server's page says how"
        )
    if _minor(ours) != _minor(theirs):
        older = "here" if is_newer(theirs, ours) else "on the server"
        return warn(f"llmpt {ours} here, {theirs} on the server; they work together", f"update the older one, {older}")
    return ok(f"llmpt {ours} here, {theirs} on the server")


def clock(context: Context) -> Finding:
    """Are the tracker's clock and ours the same, to a minute?"""
    if context.probe is None or context.probe.ahead_s is None:
        return skip("the tracker does not say what time it is")
    ahead = context.probe.ahead_s
    if abs(ahead) > CLOCK_S:
        words = f"{abs(ahead):.0f} s {'behind' if ahead > 0 else 'ahead of'}"
        return warn(f"this machine's clock is {words} the tracker's", "set both by NTP: `timedatectl set-ntp true`")
    return ok("agrees with the tracker's")


def announce_port(context: Context) -> Finding:
    """Can the port be reached where the tracker takes announces?"""
    if context.client is None or context.probe is None or not context.probe.well:
        return skip("the tracker does not answer")
    try:
        parts = urlsplit(context.client.contact().announce_url)
    except TrackerError as error:
        return fail(str(error), "look at the server's log")
    return _connects(parts, "where the tracker takes announces")


def blob_port(context: Context) -> Finding:
    """Can the port be reached at which a seeder serves files over HTTP?"""
    if context.client is None or context.probe is None or not context.probe.well:
        return skip("the tracker does not answer")
    blobs = BlobHttp(
        context.client.url,
        stall_timeout_s=context.settings.stall_timeout_s,
        trust=context.client.trust,
        reader=context.client.reader,
    )
    try:
        listed = [one for one in itertools.islice(context.client.torrents({"limit": "50"}), 50) if one.seeders]
        url = next(filter(None, (blobs.locate(Etag(one.etag)) for one in listed[:SEEDED_TRIED])), None)
    except TrackerError as error:
        return fail(str(error), "look at the server's log")
    if url is None:
        return skip("nothing is published that a seeder serves over HTTP now")
    return _connects(urlsplit(url), "where a seeder serves files over HTTP")


def _connects(parts: SplitResult, what: str) -> Finding:
    host, port = str(parts.hostname), int(parts.port or 80)
    try:
        connect(host, port, wait_s=CONNECT_TIMEOUT_S).close()
    except OSError as error:
        said = error.strerror or str(error)
        remedy = f"open TCP {port} in the server's firewall; under Docker, publish it"
        return fail(f"no connection to {host} port {port}, {what}: {said}", remedy)
    return ok(f"{host} port {port} accepts connections")


def _minor(text: str) -> list[str]:
    return text.split(".")[:2]
