"""One file's way through the LAN: a temporary file beside the destination, the agent's transfer, the hand-over.

The agent writes into the temporary file and verifies it; then it has renamed it to the destination, or we move it with the
library's own function. Where no agent can be had, a seeder of the LAN sends the file over HTTP. When either breaks off in the
middle, only what is missing is fetched from the Hub. Whatever else goes wrong, `run` returns False and the library downloads
the file in its own way.
"""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from pathlib import Path

from llmpt.core import errand
from llmpt.core.blob import Etag
from llmpt.core.errors import ContentMismatch
from llmpt.core.files import FileId
from llmpt.disk.verification import verify_file, verify_open
from llmpt.hook import fallback
from llmpt.hook.call import Call, Proof, Served
from llmpt.hook.for_all import WatchedDownload
from llmpt.hook.lan import Lan
from llmpt.hook.library import Asked
from llmpt.hook.progress import LibraryBar
from llmpt.hook.summary import Summary
from llmpt.hook.temporary import Hold, Temporary
from llmpt.link.answers import Done, Failed, Progress, Ranges, Refused
from llmpt.link.client import FetchResult, NoAgent, Silent
from llmpt.link.requests import FetchRequest, commit_named, path_named, repo_named
from llmpt.tracker.blobs import NotOverHttp

log = logging.getLogger("llmpt")


class LibraryDownload:
    """A file that the agent is asked for.

    `run`; if that is False, `fall_back` and `hand_over_bar`, then the library downloads, then `discard`; `close_bar` and
    `close` at the end of it all. A program that waits no longer ends each of them by `Abandoned`; what has come stays.
    """

    def __init__(self, call: Call, asked: Asked, *, etag: Etag, lan: Lan, summary: Summary) -> None:
        self._call, self._asked, self._etag, self._lan, self._summary = call, asked, etag, lan, summary
        self._temporary = Temporary(asked.incomplete, etag, call.size)
        self._for_all = WatchedDownload(lan.agent, call.fetching)
        self._bar = LibraryBar(
            asked.library, filename=call.filename, total=call.size, tqdm_class=asked.arguments.get("tqdm_class")
        )
        self._lent: tuple[Path, FileId] | None = None
        self._ordinary_bytes_s = 0
        self._lan_bytes = 0  # what the LAN has given, at most

    @property
    def begun(self) -> bool:
        """Whether the LAN has given anything."""
        return self._lan_bytes > 0

    def run(self, *, ordinary_rate_bytes_s: int = 0) -> bool:
        """Return True when the file lies at its destination, verified; the rate is the Hub's, 0 if unknown."""
        if not self._temporary.open():
            log.debug("%s: its temporary file cannot be used; ordinary path", self._call.filename)
            return False
        self._ordinary_bytes_s = ordinary_rate_bytes_s
        result = self._ask_agent(ordinary_rate_bytes_s)
        if self._is_lost(result) and self._open_anew():
            log.info("%s: its temporary file was removed or replaced; once more", self._call.filename)
            result = self._ask_agent(ordinary_rate_bytes_s)
        return self._end(result)

    def _ask_agent(self, ordinary_rate_bytes_s: int) -> FetchResult:
        with self._summary.lan_transfer():
            return self._lan.agent.fetch(self._request(ordinary_rate_bytes_s), on_progress=self._on_progress)

    def _is_lost(self, result: FetchResult) -> bool:
        """Whether another program, a cleaner for example, has taken the file that the agent was to fill."""
        was_here = not result.fetch if isinstance(result, Failed | Refused) else isinstance(result, Done) and not result.moved
        return was_here and not self._temporary.is_at(self._temporary.path)

    def _open_anew(self) -> bool:
        self._temporary.close()
        return self._temporary.open(anew=True)

    def _end(self, result: FetchResult) -> bool:
        """Do what is left to do after the agent's last word; True when the file lies at its destination."""
        match result:
            case Done():
                if not self._hand_over(moved=result.moved):
                    return self._broken_off("the agent's word and the disk disagree", ())
                came = min(result.bytes_from_lan, self._call.size)
                source = "the LAN" if came else "this machine's agent"
                log.info("%s: %d bytes from %s", self._call.filename, came or self._call.size, source)
                return self._finished(came, result.peers, by_http=result.bytes_by_http)
            case NoAgent():
                return self._over_http(result.reason)
            case Silent():
                left = self._temporary.lend()
                self._lent = None if self.begun else left  # else the agent may give of it to others when it goes on
                if not self._open_anew():
                    return self._broken_off(result.reason, ())
                return self._over_http(result.reason)
            case Refused() | Failed():
                if result.fetch:
                    self._for_all.ask()
                return self._broken_off(result.reason, result.have if isinstance(result, Failed) else ())

    def _finished(self, came: int, machines: int, *, by_http: int) -> bool:
        """End well; `came` bytes are from other machines. Without any, this machine's own agent had it all."""
        if came:
            self._summary.from_lan(came, machines=machines, by_http=by_http)
        else:
            self._summary.from_here(self._call.size)
        self._bar.finish()
        self._take_back()
        return True

    def _take_back(self) -> None:
        """Remove the file that was left to a silent agent. Its bytes stay for as long as that agent has it open."""
        if self._lent is not None:
            path, file = self._lent
            with suppress(OSError):
                if FileId.of(os.lstat(path)) == file:
                    path.unlink()

    def _over_http(self, no_agent: str) -> bool:
        """Have a seeder send the file to us; this machine does not seed it afterwards."""
        descriptor = self._temporary.descriptor
        log.debug("%s: over HTTP, since %s", self._call.filename, no_agent)
        if descriptor is None:
            return False
        try:
            with self._summary.lan_transfer():
                show = self._lan.blobs.unless_it_crawls(self._show, self._call.size, self._ordinary_bytes_s)
                came = self._lan.blobs.fetch(self._etag, self._call.size, descriptor, on_progress=show)
            if not self._temporary.is_new:
                verify_open(descriptor, self._etag, self._call.size)
            if not self._hand_over(moved=False, seeds=False):
                return False
        except NotOverHttp as error:
            return self._broken_off(str(error), ((0, error.there),) if error.there else ())
        except (ContentMismatch, OSError) as error:
            return self._broken_off(str(error), ())
        log.info("%s: %d bytes from the LAN over HTTP", self._call.filename, came)
        return self._finished(self._call.size, 1, by_http=came)

    def _broken_off(self, reason: str, have: Ranges) -> bool:
        """Say that the LAN did not give the file, and fetch the rest, if some of it is there."""
        if self.begun or have:
            rest = f"the rest comes from the {'server' if self._call.is_server else 'Hub'}"
            way = rest if have else "fetching it the ordinary way"
            log.warning("llmpt: %s: the LAN broke off (%s); %s", self._call.filename, reason, way)
        else:
            log.debug("%s: not from the LAN (%s)", self._call.filename, reason)
        return bool(have) and self._fetch_rest(have)

    def _fetch_rest(self, have: Ranges) -> bool:
        """Fetch from the Hub what is missing beside `have`, which is verified and on disk; False: the library has to."""
        size, descriptor = self._call.size, self._temporary.descriptor
        if descriptor is None:
            return False
        if reason := fallback.why_not(self._asked, size):
            log.debug("%s: not only the rest of it: %s", self._call.filename, reason)
            return False
        gaps = fallback.missing(have, size)
        from_hub = sum(stop - start for start, stop in gaps)
        shown = size - from_hub
        self._bar.show(shown)

        def on_bytes(count: int) -> None:
            nonlocal shown
            shown += count
            errand.check()
            self._bar.show(shown)

        self._begin_for_all()
        self._call.proof = Proof.AS_IT_COMES
        try:
            fallback.fetch(self._asked, descriptor, gaps, on_bytes=on_bytes)
            verify_open(descriptor, self._etag, size)
            if not self._hand_over(moved=False):
                return False
        except (fallback.DiskFull, ContentMismatch) as error:
            log.warning("llmpt: %s: %s", self._call.filename, error)
            self._temporary.remove()  # it is worth nothing, or takes the room that the library needs
            return False
        except fallback.NotInParts as error:
            log.warning("llmpt: %s: the rest alone cannot be had (%s)", self._call.filename, error)
            return False
        finally:
            self._call.proof = Proof.NONE
        self._summary.from_lan(size - from_hub, machines=0)
        self._summary.from_hub(from_hub, after_lan=True, is_server=self._call.is_server)
        log.info("%s: %d bytes were there, %d from the Hub", self._call.filename, size - from_hub, from_hub)
        self._bar.finish()
        return True

    def fall_back(self) -> None:
        """Make room for the library. If it downloads for all, the agent watches from here on."""
        if (self._temporary.hold is Hold.FRESH and not self.begun) or self._temporary.leaves_no_room():
            self._temporary.remove()
        self._begin_for_all()

    def hand_over_bar(self, *, same: bool) -> type | None:
        """Take back what the bar showed; return the class with which the library goes on with the same bar.

        None when no bar was shown, or, without `same`, when the library makes its own.
        """
        return self._bar.hand_over(keep=same)

    def _begin_for_all(self) -> None:
        self._for_all.begin(self._lan.tracker, self._etag, self._asked.stem)

    def discard(self) -> None:
        """The library has downloaded the file: remove what we have of it."""
        self._take_back()
        self._temporary.remove()
        if self._for_all.is_on:
            self._served(None)

    def close_bar(self) -> None:
        """Let go of the bar, on the program's own thread."""
        self._bar.close()

    def close(self) -> None:
        """Let go of the temporary file."""
        self._temporary.close()

    def _request(self, ordinary_rate_bytes_s: int) -> FetchRequest:
        return FetchRequest(
            tracker=self._lan.tracker,
            etag=self._etag,
            size=self._call.size,
            repo=repo_named(self._call.repo_type, self._call.repo_id),
            revision=self._call.revision,
            filename=path_named(self._call.filename),
            path=self._temporary.path,
            file=FileId.of(os.lstat(self._temporary.path)),
            destination=self._asked.destination,
            replace=os.path.lexists(self._asked.destination),
            ordinary_rate_bytes_s=ordinary_rate_bytes_s,
            endpoint=self._call.endpoint,
            anonymous=self._call.anonymous,
            stem=self._asked.stem,
            commit=commit_named(self._call.commit),
        )

    def _on_progress(self, progress: Progress) -> None:
        if progress.done_bytes > 0:
            self._show(progress.done_bytes, waiting=progress.waiting)

    def _show(self, done_bytes: int, waiting: bool = False) -> None:
        errand.check()
        self._lan_bytes = max(self._lan_bytes, 0 if waiting else done_bytes)
        self._bar.show(min(done_bytes, self._call.size))

    def _hand_over(self, *, moved: bool, seeds: bool = True) -> bool:
        """See the verified file to its destination; False when what was said of it and the disk disagree.

        With `seeds` the agent is told of it in the end.
        """
        destination = self._asked.destination
        try:
            if not moved:
                self._move(destination)
            if not self._temporary.is_whole_at(destination):  # it was copied there, or another program has put its own there
                verify_file(destination, self._etag, self._call.size)
        except (ContentMismatch, OSError) as error:
            log.info("%s: %s", self._call.filename, error)
            return False
        if seeds:
            self._served(destination if moved else None)
        return True

    def _move(self, destination: Path) -> None:
        """Have the library move the file; what another program has removed or replaced is made anew from what is open."""
        if not self._temporary.is_at(self._temporary.path):
            self._temporary.make_anew()
            verify_file(self._temporary.path, self._etag, self._call.size)
        elif not self._temporary.is_whole_at(self._temporary.path):
            raise ContentMismatch(f"{self._temporary.path} is not whole")
        self._asked.library._chmod_and_move(self._temporary.path, destination)

    def _served(self, known_at: Path | None) -> None:
        """Have the agent told, in the end, where the file lies, unless that is `known_at`, where it has put it."""
        self._call.served = Served(self._lan.agent, self._lan.tracker, self._etag, known_at, fetched=self._for_all.is_on)
