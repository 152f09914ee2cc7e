"""`resolve` and `raw`: what a file is (HEAD), and where its bytes are (GET: a redirect to a seeder that has them).

A file whose bytes no machine of the LAN has now is a 404 without the commit, which no client believes for longer than a moment;
with an upstream it is fetched, and a client that asks for the bytes waits a little, or is sent there. A file that was published
as lying here is never a 404 because its seeder is busy, or starts: that is waited for a little, and then is a 503.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from flask import Response, request

from llmpt.core.http_head import wanted_part
from llmpt.core.hub_headers import file_headers, named
from llmpt.core.hub_target import HubTarget
from llmpt_tracker.control.messages import BlobAddress
from llmpt_tracker.errors import SeedersBusy, TooManyWait
from llmpt_tracker.rules.hub import revisions as hub
from llmpt_tracker.rules.hub.errors import bytes_not_here, entry_not_found
from llmpt_tracker.rules.hub.files import HubFile
from llmpt_tracker.rules.hub.upstream import WantedFile
from llmpt_tracker.rules.servers import Place
from llmpt_tracker.state import state
from llmpt_tracker.views.access import asker, host_as_asked
from llmpt_tracker.views.hub.answers import upstream
from llmpt_tracker.views.hub.request import client_version
from llmpt_tracker.views.serving import may_serve

MAX_HTTP_BYTES = 50_000_000_000  # huggingface_hub downloads nothing larger over HTTP, if it is told the size
SIZE_OPTIONAL = (1, 31)  # from here on it does without

T = TypeVar("T")
MayServe = Callable[[BlobAddress], bool]


def resolve(asked: HubTarget) -> Response:
    """Say what a file is, or lead to its bytes."""
    return _resolve(*_find(asked))


def raw(asked: HubTarget) -> Response:
    """Lead to a file's bytes as git has them: those of an LFS file are its pointer."""
    revision, file = _find(asked)
    if not file.lfs:
        return _resolve(revision, file)
    headers = {**_headers(revision.commit, file), "ETag": f'"{file.oid}"', "Content-Type": "text/plain; charset=utf-8"}
    return _own(file.pointer, {name: text for name, text in headers.items() if not name.startswith("X-Linked-")})


def _resolve(revision: hub.HubRevision, file: HubFile) -> Response:
    headers = _headers(revision.commit, file)
    if file.size == 0:
        return _own(b"", headers)
    if request.method == "HEAD":
        if not _is_here(revision, file) and not _fetch(revision, file):
            raise bytes_not_here(file.path)
        return _described(file, headers)
    response = Response(status=302)
    response.headers.update({**headers, "Location": _url(revision, file)})
    return response


def _find(asked: HubTarget) -> tuple[hub.HubRevision, HubFile]:
    repo = hub.repo_ref(asked.repo_type, asked.repo_id)
    revision = asked.revision or hub.DEFAULT_REVISION

    def look() -> hub.FoundFile:
        with state().database.reading() as session:
            return hub.find_file(session, repo, revision, asked.path)

    found = state().learning.look_up(upstream(), look, repo, revision, lambda one: None if one.absent else one.revision)
    if found.file is None:
        raise entry_not_found(asked.path, commit=found.revision.commit if found.absent else None)
    return found.revision, found.file


def _headers(commit: str, file: HubFile) -> dict[str, str]:
    return file_headers(commit, file.path, file.size, file.etag, outside_git=file.lfs)


def _described(file: HubFile, headers: dict[str, str]) -> Response:
    response = Response()
    response.headers.update(headers)
    if file.size > MAX_HTTP_BYTES and (client_version() or (0, 0)) >= SIZE_OPTIONAL:
        response.automatically_set_content_length = False
        response.headers.pop("Content-Length", None)
        response.headers.pop("X-Linked-Size", None)
    else:
        response.headers["Content-Length"] = str(file.size)
    return response


def _is_here(revision: hub.HubRevision, file: HubFile) -> bool:
    """Whether a machine that is on now has the bytes."""
    if file.swarm is not None:
        swarms, _ = state().announcer.swarms([file.swarm], peers=0, asker=str(asker()))
        if swarms[file.swarm].seeders > 0:
            return True
    may = _may_serve(revision, file)
    return bool(_patiently(file, may, lambda: state().blobs.has(file.etag, may_serve=may)))


def _fetch(revision: hub.HubRevision, file: HubFile) -> bool:
    """Have the bytes fetched from upstream; False: there is none."""
    behind = upstream()
    if behind is not None:
        behind.fetch(WantedFile(revision.repo, revision.commit, file.path, file.etag))
    return behind is not None


def _url(revision: hub.HubRevision, file: HubFile) -> str:
    """Return where the bytes are, or will be."""
    may = _may_serve(revision, file)
    if url := _patiently(file, may, lambda: _locate(file, may)):
        return url
    behind = upstream()
    if behind is None or not _fetch(revision, file):
        raise bytes_not_here(file.path)
    return _await(file, may) or behind.url(revision.repo, revision.commit, file.path)


def _patiently(file: HubFile, may: MayServe, ask: Callable[[], T]) -> T | None:
    """Ask the seeders; where one that may have the file is busy, wait a little for its word. Raises `SeedersBusy`.

    None: none has it, or the one that is busy never said so.
    """
    try:
        return ask()
    except SeedersBusy:
        with state().database.reading() as session:
            if not hub.is_published_as_here(session, file.etag):
                return None
        _wait("says", file, _said_of(file.etag, may))
        return ask()


def _await(file: HubFile, may: MayServe) -> str | None:
    """Return where the bytes begin to come in; None: nowhere in time, or too many wait already."""
    said = _said_of(file.etag, may)
    try:
        return _locate(file, may) if _wait("grows", file, lambda: said() or None) else None
    except SeedersBusy:
        return None


def _wait(what: str, file: HubFile, look: Callable[[], bool | None]) -> bool:
    timings = state().learning.timings
    try:
        found = state().waiting.until((what, file.etag), look, within_s=timings.grows_within_s, poll_s=timings.poll_s)
    except TooManyWait:
        return False
    return bool(found)


def _said_of(etag: str, may: MayServe) -> Callable[[], bool | None]:
    """Return what asks whether a seeder has a blob; None: that is not said now. It is called by another thread."""
    blobs = state().blobs

    def said() -> bool | None:
        try:
            return blobs.has(etag, may_serve=may)
        except SeedersBusy:
            return None

    return said


def _locate(file: HubFile, may: MayServe) -> str | None:
    url = state().blobs.locate(file.etag, asker=str(asker()), host_as_asked=host_as_asked(request)[0], may_serve=may)
    return None if url is None else named(url, file.path)


def _may_serve(revision: hub.HubRevision, file: HubFile) -> MayServe:
    """Let those serve a file that published this very line: no client without a hook checks what it gets."""
    return may_serve(state().database, file.etag, Place(revision.repo, revision.commit, file.path))


def _own(body: bytes, headers: Mapping[str, str]) -> Response:
    """Answer with a few bytes of our own, or the one part of them that is asked for."""
    response = Response(body)
    response.headers.update(headers)
    wanted = wanted_part(request.headers.get("Range", "").encode("latin-1", "replace"), len(body))
    if wanted is None or request.method != "GET":
        return response
    if not body:  # no part of nothing can be had, and @huggingface/hub ends at a 416
        response.headers["Content-Range"] = "bytes */0"
    elif not wanted:
        response.status_code, response.data = 416, b""
        response.headers["Content-Range"] = f"bytes */{len(body)}"
    else:
        response.status_code, response.data = 206, body[wanted.start : wanted.stop]
        response.headers["Content-Range"] = f"bytes {wanted.start}-{wanted.stop - 1}/{len(body)}"
    return response
