"""What a revision holds, in the Hub's words: `info`, `tree`, `paths-info`.

A listing that is known in part is never told to a client that would keep it for the whole.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs

from flask import Response, request
from pydantic import BaseModel, ConfigDict
from sqlalchemy.orm import Session
from werkzeug.exceptions import RequestEntityTooLarge

from llmpt.core.errors import InvalidInput
from llmpt.core.hub_target import HubTarget
from llmpt.core.repo import RepoRef, check_path
from llmpt_tracker.errors import Refused
from llmpt_tracker.rules.hub import files as hub_files
from llmpt_tracker.rules.hub import revisions as hub
from llmpt_tracker.rules.hub.cards import info
from llmpt_tracker.rules.hub.errors import entry_not_found, listing_unknown
from llmpt_tracker.rules.hub.gguf import manifest
from llmpt_tracker.rules.publication import parse_json
from llmpt_tracker.views.hub.answers import flag, json_response, last_commit, look_up
from llmpt_tracker.views.hub.request import client_version

MAX_PATHS_BYTES = 1 << 20
MAX_PATHS = 10_000
MAX_TAG = 255
KEEPS_LISTINGS, TELLS_XET = (1, 22), (1, 26)  # versions of huggingface_hub: see rules/hub/files.py


class Paths(BaseModel):
    """The JSON body of `paths-info`; what else it says is nothing to us."""

    model_config = ConfigDict(strict=True)

    paths: list[str]
    expand: bool = False


def repo_info(asked: HubTarget) -> Response:
    """`GET /api/models/<repo>[/revision/<rev>]`: the card, and every file that is listed."""

    def look(session: Session, repo: RepoRef) -> tuple[hub.HubRevision, list[hub_files.HubFile]]:
        revision = hub.find_revision(session, repo, asked.revision)
        return revision, hub.files(session, revision)

    revision, files = look_up(asked, look, lambda found: found[0])
    return json_response(info(revision, files, blobs=flag("blobs")))


def tree(asked: HubTarget) -> Response:
    """`GET …/tree/<rev>/<folder>`: files and folders below a folder."""

    def look(session: Session, repo: RepoRef) -> tuple[hub.HubRevision, list[hub_files.HubFile], bool]:
        revision = hub.find_revision(session, repo, asked.revision)
        files = hub.files(session, revision, below=_path(asked.path) if asked.path else "")
        return revision, files, not files and bool(asked.path)

    revision, files, missing = look_up(asked, look, lambda found: found[0])
    if missing:
        raise entry_not_found(asked.path, commit=revision.commit if revision.complete else None)
    recursive, expand = flag("recursive"), flag("expand")
    entries = hub_files.tree(files, below=asked.path, recursive=recursive, commit=last_commit(revision) if expand else None)
    version = client_version()
    kept = recursive and not asked.path and asked.revision == revision.commit  # what snapshot_download asks for
    if kept and not revision.complete and version is not None and version >= KEEPS_LISTINGS:
        if version < TELLS_XET:
            raise listing_unknown(revision.repo, revision.commit)
        hub_files.mark_partial(entries)
    return json_response(entries)


def gguf_manifest(asked: HubTarget) -> Response:
    """`GET /v2/<user>/<repo>/manifests/<tag>`: the file of a quantisation."""

    def look(session: Session, repo: RepoRef) -> tuple[hub.HubRevision, list[hub_files.HubFile]]:
        revision = hub.find_revision(session, repo, None)
        return revision, hub.files(session, revision)

    _, files = look_up(asked, look, lambda found: found[0])
    shown = manifest(files, asked.path[:MAX_TAG])
    if shown is None:
        raise entry_not_found(f"a GGUF file {asked.path:.100}", commit=None)
    return json_response(shown)


def paths_info(asked: HubTarget) -> Response:
    """`POST …/paths-info/<rev>`: those of the paths that there are."""
    body = _paths()

    def look(session: Session, repo: RepoRef) -> tuple[hub.HubRevision, list[dict[str, Any]]]:
        revision = hub.find_revision(session, repo, asked.revision)
        last = last_commit(revision) if body.expand else None
        wanted = list(dict.fromkeys(path.strip("/") for path in body.paths if _is_path(path.strip("/"))))
        files = hub.files_at(session, revision, wanted)
        folders = hub.folders_among(session, revision, {path for path in wanted if path not in files})
        entries = []
        for path in wanted:
            if path in files:
                entries.append(hub_files.entry(files[path], last))
            elif path in folders:
                entries.append(hub_files.folder(path, last))
        return revision, entries

    return json_response(look_up(asked, look, lambda found: found[0])[1])


def _paths() -> Paths:
    """Read the body of `paths-info`: a form, or JSON."""
    request.max_content_length = MAX_PATHS_BYTES
    data = request.get_data(cache=False)
    if len(data) > MAX_PATHS_BYTES or (request.content_length is None and len(data) >= MAX_PATHS_BYTES):
        raise RequestEntityTooLarge
    if request.mimetype == "application/json":
        body = parse_json(Paths, data)
    else:
        try:
            form = parse_qs(data.decode("utf-8", "replace"), max_num_fields=MAX_PATHS + 10)
        except ValueError:
            raise Refused(400, "bad_request", f"at most {MAX_PATHS} paths at once") from None
        body = Paths(paths=form.get("paths", []), expand=form.get("expand", [""])[-1].lower() in ("true", "1"))
    if len(body.paths) > MAX_PATHS:
        raise Refused(400, "bad_request", f"at most {MAX_PATHS} paths at once")
    return body


def _path(text: str) -> str:
    if not _is_path(text):
        raise entry_not_found(text, commit=None)
    return text


def _is_path(text: str) -> bool:
    try:
        check_path(text)
    except InvalidInput:
        return False
    return True
