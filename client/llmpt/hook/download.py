"""One file's way through the LAN: a temporary file beside the destination, the agent's transfer, the hand-over.

The temporary file's name comes from the etag and the user, so that the next try finds what this one left. The agent writes
into it and verifies it; then it has renamed it to the destination, or we move it with the library's own function. Where no
agent can be had, a seeder of the LAN sends the file over HTTP. When either breaks off in the middle, only what is missing is
fetched from the Hub. Whatever else goes wrong, `run` returns False and the library downloads the file in its own way.
"""

from __future__ import annotations

import hashlib
import logging
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from llmpt.core.blob import Etag
from llmpt.core.errors import ContentMismatch
from llmpt.core.files import FileId
from llmpt.disk.verification import verify_file
from llmpt.hook import fallback
from llmpt.hook.call import Call, Served
from llmpt.hook.library import writes_as_it_comes
from llmpt.hook.progress import Bar
from llmpt.hook.summary import Summary
from llmpt.link.answers import Done, Failed, Progress, Refused
from llmpt.link.client import AgentClient, NoAgent, Silent
from llmpt.link.requests import Fetching, FetchRequest, path_named, repo_named
from llmpt.tracker.blobs import BlobHttp, NotOverHttp

log = logging.getLogger("llmpt")


class Download:
    """A file that the agent is asked for.

    `run`; if that is False, `fall_back`, then the library downloads, then `discard`; `close` at the end of it all.
    """

    def __init__(
        self,
        call: Call,
        *,
        library: ModuleType,
        asked: Mapping[str, Any],
        link: AgentClient,
        blobs: BlobHttp,
        summary: Summary,
        tracker: str,
        ordinary_rate_bytes_s: int = 0,
    ) -> None:
        """`asked` are the arguments of the library's `_download_to_tmp_and_move`; the rate is the Hub's, 0 if unknown."""
        self._call, self._library, self._link, self._summary, self._tracker = call, library, link, summary, tracker
        self._blobs = blobs
        self._asked = asked
        self._ordinary_rate_bytes_s = ordinary_rate_bytes_s
        incomplete: Path = asked["incomplete_path"]
        self._destination = Path(os.path.abspath(asked["destination_path"]))  # noqa: PTH100 - resolve() would follow a link
        suffix = hashlib.sha256(f"{call.etag}:{os.getuid()}".encode()).hexdigest()[:8]
        self._temporary = Path(os.path.abspath(incomplete.with_name(f"{incomplete.stem}.{suffix}.incomplete")))  # noqa: PTH100
        stem = Path(os.path.abspath(incomplete.with_name(incomplete.stem)))  # noqa: PTH100
        self._stem = stem if writes_as_it_comes(library) else None
        self._bar = Bar(library, filename=call.filename, total=call.size, tqdm_class=asked.get("tqdm_class"))
        self._descriptor: int | None = None
        self._pid = os.getpid()
        self._fresh = False  # the temporary file did not exist before
        self._held = False  # it is locked, and ours until `close`
        self._for_all = False  # this machine fetches it for the whole LAN
        self._watched = False  # and the agent watches
        self._in_use = False  # an agent may still write to the temporary file, and give of it to others
        self.begun = False  # bytes have flowed

    def run(self) -> bool:
        """Return True when the file lies at its destination, verified."""
        if not self._open():
            log.debug("%s: its temporary file cannot be used; ordinary path", self._call.filename)
            return False
        with self._summary.lan_transfer():
            result = self._link.fetch(self._request(), on_progress=self._on_progress)
        self._in_use = isinstance(result, Silent)
        self._for_all = isinstance(result, Refused | Failed) and result.fetch
        if isinstance(result, NoAgent):
            return self._over_http(result.reason)
        if not isinstance(result, Done):
            return self._broken_off(result.reason, result.have if isinstance(result, Failed) else ())
        if not self._hand_over(moved=result.moved):
            return self._broken_off("the agent's word and the disk disagree", ())
        self._summary.from_lan(self._call.size, machines=result.peers, by_http=result.bytes_by_http)
        log.info("%s: %d bytes from the LAN", self._call.filename, self._call.size)
        self._bar.finish()
        return True

    def _over_http(self, no_agent: str) -> bool:
        """Have a seeder send the file to us; this machine does not seed it afterwards."""
        size, descriptor = self._call.size, self._descriptor
        log.debug("%s: over HTTP, since %s", self._call.filename, no_agent)
        if descriptor is None:
            return False
        try:
            with self._summary.lan_transfer():
                came = self._blobs.fetch(Etag(self._call.etag), size, descriptor, on_progress=self._show)
            if not self._hand_over(moved=False, seeds=False):
                return False
        except NotOverHttp as error:
            return self._broken_off(str(error), ((0, error.there),) if error.there else ())
        except (ContentMismatch, OSError) as error:
            return self._broken_off(str(error), ())
        self._summary.from_lan(size, machines=1, by_http=came)
        log.info("%s: %d bytes from the LAN over HTTP", self._call.filename, came)
        self._bar.finish()
        return True

    def _broken_off(self, reason: str, have: fallback.Ranges) -> bool:
        """Say that the LAN did not give the file, and fetch the rest, if some of it is there."""
        if self.begun or have:
            rest = f"the rest comes from the {'server' if self._call.is_server else 'Hub'}"
            way = rest if have else "fetching it the ordinary way"
            log.warning("llmpt: %s: the LAN broke off (%s); %s", self._call.filename, reason, way)
        else:
            log.debug("%s: not from the LAN (%s)", self._call.filename, reason)
        return bool(have) and self._fetch_rest(have)

    def _fetch_rest(self, have: fallback.Ranges) -> bool:
        """Fetch from the Hub what is missing beside `have`, which is verified and on disk; False: the library has to."""
        size = self._call.size
        descriptor = self._descriptor
        if descriptor is None or not self._is_mine(self._temporary):
            return False
        if reason := fallback.why_not(self._library, self._asked, size):
            log.debug("%s: not only the rest of it: %s", self._call.filename, reason)
            return False
        gaps = fallback.missing(have, size)
        from_hub = sum(stop - start for start, stop in gaps)
        shown = size - from_hub
        self._bar.show(shown)

        def on_bytes(count: int) -> None:
            nonlocal shown
            shown += count
            self._bar.show(shown)

        self._begin_for_all()
        try:
            fallback.fetch(self._library, self._asked, descriptor, gaps, on_bytes=on_bytes)
            verify_file(self._temporary, Etag(self._call.etag), size)
            if not self._hand_over(moved=False):
                return False
        except (fallback.DiskFull, ContentMismatch) as error:
            log.warning("llmpt: %s: %s", self._call.filename, error)
            self._remove()  # it is worth nothing, or takes the room that the library needs
            return False
        except fallback.NotInParts as error:
            log.warning("llmpt: %s: the rest alone cannot be had (%s)", self._call.filename, error)
            return False
        self._summary.from_lan(size - from_hub, machines=0)
        self._summary.from_hub(from_hub, after_lan=True, is_server=self._call.is_server)
        log.info("%s: %d bytes were there, %d from the Hub", self._call.filename, size - from_hub, from_hub)
        self._bar.finish()
        return True

    def fall_back(self, *, same_bar: bool) -> type | None:
        """Make room for the library: take back what the bar showed. If it downloads for all, the agent watches from here on.

        Returns the class with which the library goes on with the same bar; None when no bar was shown, or, without
        `same_bar`, when the library makes its own.
        """
        if (self._fresh and not self.begun) or self._in_the_way():
            self._remove()
        self._begin_for_all()
        return self._bar.hand_over(keep=same_bar)

    def _begin_for_all(self) -> None:
        """Tell the agent, once, that this machine fetches the file for all, if it does."""
        if self._for_all and self._stem is not None and not self._watched:
            message = Fetching(self._tracker, Etag(self._call.etag), self._stem)
            self._for_all = self._link.fetching(message, until=self._call.fetching)
            self._watched = self._for_all

    def discard(self) -> None:
        """The library has downloaded the file: remove what we have of it."""
        self._remove()
        if self._for_all:
            self._call.served = Served(self._link, self._tracker, Etag(self._call.etag), None, fetched=True)

    def close(self) -> None:
        """Let go of the bar and the temporary file. What it holds stays for the next try."""
        import fcntl  # not at the top: Windows has none

        if self._descriptor is not None:
            if os.getpid() == self._pid:  # closing alone would not let go, if a child was forked meanwhile
                fcntl.flock(self._descriptor, fcntl.LOCK_UN)
            os.close(self._descriptor)
            self._descriptor = None
        self._bar.close()

    def _open(self) -> bool:
        """Create or find the temporary file and lock it; False when it cannot be had, or another program uses it."""
        import fcntl  # not at the top: Windows has none

        flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            try:
                self._descriptor = os.open(self._temporary, flags | os.O_CREAT | os.O_EXCL, 0o666)
                self._fresh = True
            except FileExistsError:
                self._descriptor = os.open(self._temporary, flags)
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            found = os.fstat(self._descriptor)
            if not stat.S_ISREG(found.st_mode) or not self._is_mine(self._temporary):
                return False
            self._held = True
            if found.st_size > self._call.size:
                os.ftruncate(self._descriptor, self._call.size)
        except BlockingIOError:  # in use
            return False
        except OSError:  # moved away in the meantime, a file system without locks, a full or read-only one
            self._held = self._fresh
            self._remove()
            return False
        return True

    def _request(self) -> FetchRequest:
        return FetchRequest(
            tracker=self._tracker,
            etag=Etag(self._call.etag),
            size=self._call.size,
            repo=repo_named(self._call.repo_type, self._call.repo_id),
            revision=self._call.revision,
            filename=path_named(self._call.filename),
            path=self._temporary,
            file=FileId.of(os.lstat(self._temporary)),
            destination=self._destination,
            replace=os.path.lexists(self._destination),
            ordinary_rate_bytes_s=self._ordinary_rate_bytes_s,
            endpoint=self._call.endpoint,
            anonymous=self._call.anonymous,
            stem=self._stem,
        )

    def _on_progress(self, transfer: Progress) -> None:
        if transfer.done_bytes > 0:
            self._show(transfer.done_bytes, waiting=transfer.waiting)

    def _show(self, done_bytes: int, waiting: bool = False) -> None:
        self.begun = self.begun or not waiting
        self._bar.show(min(done_bytes, self._call.size))

    def _hand_over(self, *, moved: bool, seeds: bool = True) -> bool:
        """See the verified file to its destination; False when what was said of it and the disk disagree.

        With `seeds` the agent is told of it in the end.
        """
        if not self._is_mine(self._destination if moved else self._temporary) or self._size() != self._call.size:
            return False
        if not moved:
            self._library._chmod_and_move(self._temporary, self._destination)
        if seeds:
            destination = self._destination if moved else None
            self._call.served = Served(self._link, self._tracker, Etag(self._call.etag), destination, fetched=self._for_all)
        return True

    def _size(self) -> int:
        return 0 if self._descriptor is None else os.fstat(self._descriptor).st_size

    def _is_mine(self, path: Path) -> bool:
        """Whether `path` names the very file that we hold open."""
        if self._descriptor is None:
            return False
        try:
            return FileId.of(os.lstat(path)) == FileId.of(os.fstat(self._descriptor))
        except OSError:
            return False

    def _in_the_way(self) -> bool:
        """Whether what we have leaves the library too little room for the whole file."""
        try:
            room = os.statvfs(self._temporary.parent)
        except OSError:
            return False
        return room.f_bavail * room.f_frsize < self._call.size

    def _remove(self) -> None:
        if self._in_use:  # what the agent gives of it to others would be zeros; it stays for the next try
            return
        if self._descriptor is not None and self._held and self._is_mine(self._temporary):
            self._temporary.unlink(missing_ok=True)
            os.ftruncate(self._descriptor, 0)  # it is open until `close`, and must take no room until then
