"""The check of everything together: a small blob of the catalogue, fetched by the agent into a file that is then removed."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from pathlib import Path

from rich.filesize import decimal

from llmpt.core.blob import Etag
from llmpt.core.errors import TrackerError
from llmpt.core.files import FileId
from llmpt.core.repo import RepoPath, RepoRef
from llmpt.doctor.context import Context
from llmpt.doctor.finding import Finding, fail, ok, skip
from llmpt.link.answers import Done
from llmpt.link.requests import FetchRequest
from llmpt.tracker.torrents import Torrent

LOOKED_AT = 400  # torrents of the catalogue, among which the smallest is taken
MAX_BYTES = 256 << 20


def test_transfer(context: Context) -> Finding:
    """Fetch the smallest blob that another machine seeds; nothing of it stays."""
    if context.client is None or context.probe is None or not context.probe.well:
        return skip("the tracker does not answer")
    if context.agent is None:
        return skip("no agent can be talked to")
    here = {row["etag"] for row in context.agent["seeding"]}
    try:
        listed = list(itertools.islice(context.client.torrents({"limit": "200"}), LOOKED_AT))
    except TrackerError as error:
        return fail(str(error), "look at the server's log")
    if not listed:
        return skip("the catalogue is empty")
    seeded = [one for one in listed if one.seeders > (one.etag in here)]
    if not seeded:
        return skip("no other machine seeds anything now")
    seeded = [one for one in seeded if one.etag not in here]
    if not seeded:
        return skip("this machine seeds itself all that others do: nothing is left to fetch")
    smallest = min(seeded, key=lambda one: one.size)
    if smallest.size > MAX_BYTES:
        return skip(f"the smallest file of the catalogue has {decimal(smallest.size)}")
    folder = Path(tempfile.mkdtemp(prefix="llmpt-doctor-"))
    try:
        return _fetch(context, smallest, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _fetch(context: Context, torrent: Torrent, folder: Path) -> Finding:
    file = folder / "blob"
    file.touch()
    place = torrent.appears_in[0] if torrent.appears_in else None
    repo = RepoRef(place.repo_type, place.repo_id) if place else RepoRef("model", "llmpt/doctor")
    request = FetchRequest(
        tracker=str(context.settings.tracker),
        etag=Etag(torrent.etag),
        size=torrent.size,
        repo=repo,
        revision=place.commit if place else "",
        filename=RepoPath(place.path if place else torrent.etag),
        path=file,
        file=FileId.of(file.stat()),
        destination=file,
        replace=True,  # so that the agent leaves the file where it is, and seeds nothing that is about to go
    )
    result = context.link.fetch(request, on_progress=lambda _progress: None)
    what = f"{decimal(torrent.size)} of {repo.id}"
    if not isinstance(result, Done):
        return fail(
            f"{what} did not come: {result.reason}",
            "look for this reason in docs/troubleshooting.md; the agent's log says more",
        )
    whence = f"{result.peers} machine{'s' * (result.peers > 1)}" if result.peers else "the LAN"
    return ok(f"{what} came from {whence}, verified and removed again")
