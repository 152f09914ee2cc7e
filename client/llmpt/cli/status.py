"""`llmpt status`: what is seeded, to whom and how fast; what came from where today. With `--watch`, as it goes on."""

from __future__ import annotations

import datetime
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

import click
from rich.filesize import decimal
from rich.text import Text

from llmpt.cli.output import Out, add_bar, add_row, console, count, json_option, show_json, table
from llmpt.cli.watching import is_screen, watched
from llmpt.core.errors import AgentUnavailable
from llmpt.core.settings import hub_cache, path
from llmpt.disk.locking import why_no_locks
from llmpt.link import counted
from llmpt.link.client import AgentClient
from llmpt.link.counted import Counted
from llmpt.settings import ClientSettings

DOWNLOADS_SHOWN = 20
SEEDS_SHOWN = 50
LATEST_SHOWN = 5  # below what is going on


@click.command()
@json_option
@click.option("--watch", is_flag=True, help="Show it anew each second, with bars, until Ctrl-C; once where there is no terminal.")
def status(as_json: bool, watch: bool) -> None:
    """Show what is seeded, to whom, how fast, and what came from where today. Exit code 1 when no agent runs."""
    if watch and as_json:
        raise click.UsageError("--watch is for people and --json for programs: leave one out")
    if watch and is_screen(out := console()):
        client = AgentClient(ClientSettings.read(), environ=os.environ)
        watched(out, lambda frame: show_now(frame, client))
        return
    settings, no_locks = ClientSettings.read(), why_no_locks_in_cache(os.environ)
    questions = counted.of_today(os.environ)
    try:
        found = AgentClient(settings, environ=os.environ).status()
    except AgentUnavailable as error:
        show_no_agent(error, as_json=as_json, tracker=settings.tracker, questions=questions)
        if not as_json:
            show_questions(console(), questions)
            show_no_locks(console(), no_locks)
        sys.exit(1)
    since_midnight = {**today(found["downloads"], midnight=_midnight()), "questions": asdict(questions)}
    if as_json:
        show_json({"running": True, **found, "today": since_midnight, "cache_without_locks": no_locks})
        return
    out = console()
    show_agent(out, found)
    show_today(out, since_midnight)
    show_questions(out, questions)
    show_downloads(out, found["downloads"])
    show_seeding(out, found["seeding"], names(found["downloads"]))
    if why_not := found.get("sharing", {}).get("why_not"):
        out.print(Text(f"what this machine fetches from the Hub is not shared: {why_not}"))
    show_no_locks(out, no_locks)
    show_troubles(out, found.get("troubles", ()))
    for row in found.get("not_seeded", ()):
        out.print(Text(f"not seeded: {row['path']}: {row['reason']}"))


def show_now(out: Out, client: AgentClient) -> None:
    """What `--watch` shows of this moment: transfers first, what has been done last, for the screen has an end."""
    questions = counted.of_today(os.environ)
    try:
        found = client.status()
    except AgentUnavailable as error:
        out.print(Text(f"{error}; it starts with the first download, or by `llmpt agent start`", "yellow"))
        show_questions(out, questions)
        return
    show_agent(out, found)
    known = names(found["downloads"])
    show_transfers(out, [row for row in found["downloads"] if row["outcome"] == "running"], found.get("fetching", []), known)
    show_today(out, today(found["downloads"], midnight=_midnight()))
    show_questions(out, questions)
    show_troubles(out, found.get("troubles", ()))
    taken = [row for row in found["seeding"] if row.get("to")]
    seeded = decimal(sum(row["size"] for row in found["seeding"]))
    out.print(f"seeding {count(len(found['seeding']), 'file')}, {seeded}; {len(taken)} taken now")
    show_seeding(out, taken, known)
    show_downloads(out, [row for row in found["downloads"] if row["outcome"] != "running"][-LATEST_SHOWN:])


def show_transfers(
    out: Out, running: list[Mapping[str, Any]], for_all: list[Mapping[str, Any]], known: Mapping[str, str]
) -> None:
    """A bar for each file that comes in; those that this machine fetches from the Hub `for_all` come as the Hub sends them."""
    ours = {row["etag"]: row for row in for_all}
    made = table("coming in", "", "of", "rate", "from")
    for row in running:
        fetched = ours.pop(row["etag"], None)
        done = row["bytes_from_lan"] + row["resumed_bytes"] if fetched is None else fetched["bytes"]
        source = "another machine fetches it" if row.get("waits") else count(len(row["bytes_by_peer"]), "machine")
        rate = f"{decimal(row['rate_bytes_s'])}/s" if fetched is None else ""
        add_bar(made, name_of(row), done, row["size"], (rate, "the Hub, for all" if fetched is not None else source))
    for etag, row in ours.items():
        add_bar(made, known.get(etag, etag[:12]), row["bytes"], row["size"], ("", "the Hub, for all"))
    if made.row_count:
        out.print(made)


def why_no_locks_in_cache(environ: Mapping[str, str]) -> str | None:
    """Say why locks in the Hub cache keep no process away; None when they do, or nothing lies there that can be looked at."""
    try:
        return why_no_locks(path(hub_cache(environ)))
    except OSError:
        return None


def show_no_agent(error: AgentUnavailable, *, as_json: bool, tracker: str | None, questions: Counted) -> None:
    if as_json:
        show_json({"running": False, "reason": str(error), "today": {"questions": asdict(questions)}})
    elif tracker is None:
        click.echo("no tracker is set, so nothing is asked of the LAN: `llmpt join http://server:8000`")
    else:
        click.echo(f"{error}; it starts with the first download, or by `llmpt agent start`")


def show_agent(out: Out, found: Mapping[str, Any]) -> None:
    """Two lines: what the agent is, and what it moves."""
    answers = "answers" if found["tracker_answers"] else ("does not answer", "red")
    line: list[str | tuple[str, str]] = [f"agent {found['pid']} · tracker {found['tracker']} (", answers, ") · "]
    line.append(f"peers on port {found['port']}")
    if found.get("reachable") is not None:
        line += [" (", "reachable" if found["reachable"] else ("not reachable by others", "red"), ")"]
    out.print(Text.assemble(*line))
    out.print(
        f"down {decimal(found['downloaded_bytes'])} ({decimal(found['download_rate_bytes_s'])}/s) · "
        f"up {decimal(found['uploaded_bytes'])} ({decimal(found['upload_rate_bytes_s'])}/s) · {count(found['peers'], 'peer')}"
    )


def show_no_locks(out: Out, reason: str | None) -> None:
    if reason is not None:
        out.print(Text(f"the file system of the Hub cache does not lock ({reason}): `llmpt doctor` says what follows"))


def show_troubles(out: Out, troubles: Iterable[Mapping[str, Any]]) -> None:
    """One line for each of the agent's loops that goes on failing."""
    for trouble in troubles:
        since = datetime.datetime.fromtimestamp(trouble["since"]).astimezone().strftime("%Y-%m-%d %H:%M:%S")
        out.print(Text(f"does not work since {since}: {trouble['name']}: {trouble['error']}", style="red"))


def today(downloads: Iterable[Mapping[str, Any]], *, midnight: float) -> dict[str, Any]:
    """Add up the downloads that are running or ended since `midnight` (Unix time), by where their bytes came from.

    `http_bytes` are those that a seeder sent by plain HTTP, `by_machine` the others. `not_from_lan` counts the files for
    which the agent was asked and the ordinary path had to do, by reason.
    """
    total: dict[str, Any] = {"files": 0, "lan_bytes": 0, "http_bytes": 0, "by_machine": {}, "not_from_lan": {}}
    for row in downloads:
        if row["ended_at"] is not None and row["ended_at"] < midnight:
            continue
        total["files"] += 1
        total["lan_bytes"] += row["bytes_from_lan"]
        total["http_bytes"] += row.get("bytes_by_http", 0)
        for peer, size in row["bytes_by_peer"].items():
            machine, colon, _ = peer.rpartition(":")
            if colon:  # else they came over HTTP
                total["by_machine"][machine] = total["by_machine"].get(machine, 0) + size
        if row["outcome"] in ("refused", "failed"):
            total["not_from_lan"][row["reason"]] = total["not_from_lan"].get(row["reason"], 0) + 1
    return total


def show_today(out: Out, total: Mapping[str, Any]) -> None:
    if not total["files"]:
        return
    machines = sorted(total["by_machine"].items(), key=lambda item: -item[1])
    over_http = [f"{decimal(total['http_bytes'])} over HTTP from the server"] if total["http_bytes"] else []
    sources = ", ".join([f"{decimal(size)} from {machine}" for machine, size in machines] + over_http)
    out.print(
        f"today {count(total['files'], 'file')}, {decimal(total['lan_bytes'])} from the LAN" + (f": {sources}" * bool(sources))
    )
    for reason, files in sorted(total["not_from_lan"].items()):
        out.print(Text(f"      {count(files, 'file')} not from the LAN: {reason}"))


def show_questions(out: Out, questions: Counted) -> None:
    """How many questions of the user's programs the LAN answered, and what they have read of it in streams."""
    if questions.by_lan or questions.streamed_bytes:
        streamed = f", {decimal(questions.streamed_bytes)} read in streams" if questions.streamed_bytes else ""
        asked = count(questions.by_hub, "question") if questions.by_hub else "none"
        out.print(f"today {count(questions.by_lan, 'question')} answered by the LAN{streamed}; {asked} went to the Hub")


def show_downloads(out: Out, downloads: list[Mapping[str, Any]]) -> None:
    if not downloads:
        return
    made = table("downloaded", "size", "from the LAN", "machines", "seconds", "outcome")
    for row in downloads[-DOWNLOADS_SHOWN:]:
        outcome = row["outcome"] + (f": {row['reason']}" if row["reason"] else "")
        if row["outcome"] == "running":
            outcome = "another machine fetches it" if row.get("waits") else f"running, {decimal(row['rate_bytes_s'])}/s"
        lan, machines = decimal(row["bytes_from_lan"]), str(len(row["bytes_by_peer"]))
        add_row(made, [name_of(row), decimal(row["size"]), lan, machines, f"{row['seconds']:.1f}", outcome])
    if len(downloads) > DOWNLOADS_SHOWN:
        out.print(f"the last {DOWNLOADS_SHOWN} of {len(downloads)} downloads (--json shows all)")
    out.print(made)


def show_seeding(out: Out, seeding: list[Mapping[str, Any]], known: Mapping[str, str]) -> None:
    """The blobs that another machine takes at this moment come first; `known` maps etags to names."""
    if not seeding:
        return
    made = table("seeding", "size", "uploaded", "to", "path")
    for row in sorted(seeding, key=lambda row: not row.get("to"))[:SEEDS_SHOWN]:
        to = ", ".join(f"{one['address']} ({decimal(one['rate_bytes_s'])}/s)" for one in row.get("to", ()))
        name = known.get(row["etag"], row["etag"][:12])
        add_row(made, [name, decimal(row["size"]), decimal(row["uploaded_bytes"]), to, row["path"]])
    if len(seeding) > SEEDS_SHOWN:
        out.print(f"{SEEDS_SHOWN} of {len(seeding)} seeded blobs (--json shows all)")
    out.print(made)


def names(downloads: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Map etags to the names under which they were downloaded."""
    return {row["etag"]: name_of(row) for row in downloads}


def name_of(row: Mapping[str, Any]) -> str:
    return f"{row['repo_id']}/{row['filename']}"


def _midnight() -> float:
    return datetime.datetime.now().astimezone().replace(hour=0, minute=0, second=0, microsecond=0).timestamp()
