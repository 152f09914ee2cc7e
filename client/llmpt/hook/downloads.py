"""What this process downloads: which files go to the LAN, how fast the ordinary path is, and what there is to say of it all."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

from llmpt.core.blob import Etag
from llmpt.core.errors import ContentMismatch, InvalidName, SettingError
from llmpt.core.repo import Commit, RepoRef
from llmpt.disk.verification import verify_file
from llmpt.hook import lines
from llmpt.hook.call import Call, current
from llmpt.hook.download import LibraryDownload
from llmpt.hook.lan import Lan
from llmpt.hook.library import Asked, asked_without_token, constant, kept_in
from llmpt.hook.rate import Rate
from llmpt.hook.steps import Apart, bounded
from llmpt.hook.summary import Summary, write_to_stderr
from llmpt.link import answered, counted
from llmpt.link.answered import Answered
from llmpt.settings import ClientSettings

TYPE_CHECKING = False
if TYPE_CHECKING:  # at the first question, not at an import of huggingface_hub
    from llmpt.hook.questions.question import Question
    from llmpt.hook.questions.router import Router
    from llmpt.hook.questions.sources import Blobs, Streams
    from llmpt.tracker.blob_streams import Stretch
    from llmpt.tracker.endpoint import EndpointReply

log = logging.getLogger("llmpt")

MOST_PLACES = 1000
Connect = Callable[[ClientSettings], Lan | None]


class LibraryDownloads:
    """Owned by the hook. `connect` makes the way to the LAN from the settings."""

    def __init__(self, library: ModuleType, connect: Connect) -> None:
        self._library, self._connect = library, connect
        self.settings_read = self._quiet = False
        self._lan: Lan | None = None
        self._routers: dict[str, Router | None] = {}
        self._places: set[tuple[str, Path]] = set()
        self._rate = Rate()
        self.summary = Summary(self._say, note=lambda questions: counted.note(os.environ, questions))

    def use(self, settings: ClientSettings | None) -> None:
        """Go by these settings from now on; None: none can be had, everything takes the ordinary path."""
        self._lan = None if settings is None else self._connect(settings)
        self._routers = {}
        self._quiet = settings is not None and settings.quiet
        if settings is not None:
            lines.use(settings.log)
        self.settings_read = True

    def call(self, asked: Mapping[str, Any]) -> Call | None:
        """Return the call of one of the library's outer functions; None when nothing of this process goes to the LAN."""
        if self._lan is None:
            return None
        endpoint = asked.get("endpoint") or constant(self._library, "ENDPOINT", "")
        call = Call(asked["repo_type"], asked["repo_id"], asked["revision"], asked["filename"], endpoint=str(endpoint))
        call.is_server = call.endpoint.rstrip("/") == self._lan.tracker
        names = (call.repo_type, call.repo_id, call.revision, call.filename)
        if not all(isinstance(name, str) for name in names):
            return None
        call.kept_in = kept_in(asked)
        return call

    def read_settings(self) -> None:
        """Use those of the environment and the config files: at the first download, not at an import."""
        try:
            self.use(ClientSettings.read(os.environ))
        except SettingError as error:
            log.warning("%s; downloads take the ordinary path", error)
            self.use(None)

    def router(self, hub: str) -> Router | None:
        """Return who answers questions to the Hub at the URL `hub`; None: that Hub alone, as without us."""
        if not self.settings_read:
            Apart().do(self.read_settings)
        if self._lan is None or hub == self._lan.tracker:
            return None
        if hub not in self._routers:
            self._routers[hub] = self._new_router(self._lan, hub)
        return self._routers[hub]

    def answered(self, question: Question, reply: EndpointReply | None, hub_asked: bool) -> None:
        """Note that the LAN has answered a question, or that the Hub is asked (None)."""
        if reply is None or not hub_asked:
            self.summary.asked(hub=hub_asked)
        call = current.get()
        if call is None or reply is None or not question.is_of_file:
            return
        if question.method == "HEAD":
            call.told_by_lan = True
            self._note_place(call, reply.header("X-Repo-Commit") or "")
        else:
            call.lan_bytes += len(reply.body) if reply.status in (200, 206) else 0

    def _note_place(self, call: Call, commit: str) -> None:
        """Note, once, where the library keeps what the LAN says of a commit, to be removed if that turns out to be wrong."""
        if call.kept_in is not None and (commit, call.kept_in) not in self._places and len(self._places) < MOST_PLACES:
            self._places.add((commit, call.kept_in))
            one = Answered(call.endpoint, RepoRef(call.repo_type, call.repo_id), Commit(commit).value)
            answered.note_place(os.environ, one, call.kept_in)

    def _new_router(self, lan: Lan, hub: str) -> Router | None:
        if lan.sources is None:
            return None
        from llmpt.hook.questions.router import Router
        from llmpt.hook.questions.trusted import TrustedManifests

        manifests = TrustedManifests(lan.sources.manifests, hub=hub, environ=os.environ)
        streams = None if lan.sources.streams is None else _Counting(lan.sources.streams, self.summary)
        blobs, endpoint = _Timed(lan.sources.blobs, self.summary), lan.sources.endpoint.standing_in_for(hub)
        sources = replace(lan.sources, blobs=blobs, endpoint=endpoint, manifests=manifests, streams=streams)
        return Router(replace(sources, doubt=manifests.doubt), say=self._say, wait=bounded)

    def note(self, call: Call, asked: Mapping[str, Any], answer: tuple[Any, ...]) -> None:
        """Note what the Hub says about this very file: (url, etag, commit, size[, xet], error)."""
        if not isinstance(answer, tuple) or len(answer) < 5 or answer[-1] is not None:
            return
        call.commit, call.size, call.etag = str(answer[2] or ""), answer[3] or 0, None
        try:
            call.etag = Etag(str(answer[1]))
        except InvalidName as error:
            log.debug("%s: %s", call.filename, error)
        call.anonymous = not call.told_by_lan and asked_without_token(asked, answer, os.environ)

    def download(self, call: Call, arguments: Mapping[str, Any]) -> LibraryDownload | None:
        """Return what fetches a file from the LAN; None for a file that the agent is not asked for."""
        if self._lan is None:
            return None
        if arguments["destination_path"].exists() and not arguments["force_download"]:
            call.size = 0  # there already: it will not be downloaded
            return None
        if call.size < max(1, self._least_bytes(self._lan)) or arguments["expected_size"] not in (None, call.size):
            return None
        if call.etag is None or arguments.get("etag", call.etag.value) != call.etag.value:
            return None
        asked = Asked(self._library, arguments)
        return LibraryDownload(call, asked, etag=call.etag, lan=self._lan, summary=self.summary)

    def _least_bytes(self, lan: Lan) -> int:
        """Return from which size on files have a swarm, or take its ways because there is no other that verifies them."""
        least = lan.agent.min_blob_bytes
        return min(least, lan.sources.small_bytes) if lan.sources is not None and lan.sources.is_only else least

    def doubt(self, call: Call, path: Path) -> str | None:
        """Hold what the Hub has given against what the LAN has said; say how they differ, and remove it. None: it is the same."""
        if call.etag is None:
            return None
        try:
            verify_file(path, call.etag, call.size)
        except ContentMismatch as error:
            path.unlink(missing_ok=True)
            router = self._routers.get(call.endpoint.rstrip("/"))
            return str(error) if router is None else router.unlike(call)
        return None

    def run(self, download: LibraryDownload) -> bool:
        """Fetch it; True when the file lies at its destination, verified."""
        return download.run(ordinary_rate_bytes_s=self._rate.bytes_s)

    def count(self, call: Call, started: float, *, after_lan: bool = False) -> None:
        """Note what came the ordinary way since `started` (monotonic seconds), and how fast."""
        if call.lan_bytes:  # in an answer of the LAN's
            self.summary.from_lan(call.lan_bytes, machines=0, by_http=call.lan_bytes)
            return
        self.summary.from_hub(call.size, after_lan=after_lan, is_server=call.is_server)
        self._rate.note(call.size, time.monotonic() - started)

    def _say(self, line: str) -> None:
        if not self._quiet:
            write_to_stderr(line)


class _Timed:
    """Small files of the LAN, whose time counts for the rate that is said at the end."""

    def __init__(self, blobs: Blobs, summary: Summary) -> None:
        self._blobs, self._summary = blobs, summary

    def read(self, etag: Etag, size: int) -> bytes:
        with self._summary.lan_transfer():
            return self._blobs.read(etag, size)


class _Counting:
    """Stretches of the LAN's larger files, whose bytes are counted as they are read."""

    def __init__(self, streams: Streams, summary: Summary) -> None:
        self._streams, self._summary = streams, summary

    def part(self, etag: Etag, size: int, start: int, stop: int) -> Stretch:
        return self._streams.part(etag, size, start, stop).counted(self._summary.streamed)
