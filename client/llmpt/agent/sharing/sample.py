"""Is what the LAN says of a commit what the Hub says? A sample: one file of a repo a day, and the commit's list of names, held
against the Hub's own word. A file of which a program has seen that it differs comes first.

    Sample(folder, manifest=catalogue.manifest, tell=…, health=health).check()

Only what programs of this user had answered by the LAN is looked at, only where the Hub can be reached, and without a token.
Where the two differ the repo's answers are not used on this host any more, the log and `llmpt status` say so, and the tracker is
told. A repo that the Hub no longer shows says nothing of what the LAN said of its commit; one that it shows without that does.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from llmpt.core.breaker import Breaker
from llmpt.core.errors import TrackerError
from llmpt.core.hub_headers import NO_SUCH_COMMIT, NO_SUCH_FILE
from llmpt.core.repo import RepoRef
from llmpt.host.loops import Health, Trouble
from llmpt.hub.asking import TRACKERS_OWN, HubNo, HubReply, HubUnreachable, ask, describe
from llmpt.hub.visibility import HUB_PAUSES
from llmpt.link import answered
from llmpt.link.answered import Answered
from llmpt.tracker.catalogue import File, Manifest
from llmpt.tracker.client import TrackerClient

log = logging.getLogger("llmpt.agent")

NAMES = 1000  # a Hub's list of more of them may not be whole
SHOWN = 5
NAME = "answering by the LAN"


@dataclass(frozen=True, slots=True)
class Doubt:
    """A file of a commit of which the LAN says something else than the Hub, in words."""

    of: Answered
    path: str
    words: str

    def tell(self, tracker: TrackerClient) -> None:
        """`POST /api/v1/doubts`, with a token to share. Raises `TrackerError`."""
        place = {"repo_type": self.of.repo.type, "repo_id": self.of.repo.id, "commit": self.of.commit, "path": self.path}
        tracker.question("/api/v1/doubts", {**place, "reason": self.words[:500]})


@dataclass(frozen=True, slots=True)
class Sampling:
    """How it is done: who is asked for a file (`describe`) and for a list, at which Unix time, and which file is taken of all."""

    describe: Callable[[str], Mapping[str, str]] = describe
    ask: Callable[[str], HubReply] = ask
    clock: Callable[[], float] = time.time
    choose: Callable[[Sequence[File]], File] = random.choice


class Sample:
    """Holds what is noted in `folder` against the Hub. `manifest` asks the tracker, which `tell` tells of a difference."""

    def __init__(
        self,
        folder: Path,
        *,
        manifest: Callable[[RepoRef, str], Manifest],
        tell: Callable[[Doubt], None],
        health: Health,
        sampling: Sampling = Sampling(),
    ) -> None:
        self._folder, self._manifest, self._tell, self._health, self._sampling = folder, manifest, tell, health, sampling
        self._hub = Breaker(HUB_PAUSES, clock=sampling.clock)

    def check(self) -> None:
        """Take one file of each repo that is due. What cannot be asked now is due the next time."""
        self._look_at_all()
        self._show()

    def _show(self) -> None:
        if wrongs := answered.wrongs(self._folder):
            self._health.is_bad(Trouble(NAME, "; ".join(wrongs[:SHOWN]), self._sampling.clock()))
        else:
            self._health.is_good(NAME)

    def _look_at_all(self) -> None:
        for one in answered.due(self._folder, now=self._sampling.clock()):
            if not self._hub.allows():
                return
            try:
                doubt = self._look(one)
            except TrackerError as error:
                log.debug("%s@%s is held against the Hub later: %s", one.repo, one.commit, error)
                continue
            except HubUnreachable as error:
                self._hub.failed(error)
                continue
            self._hub.succeeded()
            answered.held(self._folder, one, wrong=doubt.words if doubt else None)
            if doubt is not None:
                self._say(doubt)

    def _look(self, one: Answered) -> Doubt | None:
        """Return how a file differs; None: it does not, or nothing follows from what the Hub says. Raises `HubUnreachable`."""
        files = self._manifest(one.repo, one.commit).files
        file = next((file for file in files if file.path.value == one.path), None) if one.path else None
        try:
            if file is None and files:
                file = self._sampling.choose(files)
            doubt = None if file is None else self._look_at(one, file)
            return doubt or self._look_at_names(one, {file.path.value for file in files})
        except HubNo as no:
            if no.code == NO_SUCH_COMMIT:
                return Doubt(one, "", f"of {one.commit[:12]} the LAN has {len(files)} files, and the Hub has no such commit")
            if no.status in (401, 403, 404):
                return None
            raise HubUnreachable(f"the Hub answered {no.status}") from None

    def _look_at_names(self, one: Answered, ours: set[str]) -> Doubt | None:
        """Return what the LAN has left out, or added. Of a long list the Hub may give a part."""
        reply = self._sampling.ask(f"{one.endpoint.rstrip('/')}/api/{one.repo.type}s/{one.repo.id}/revision/{one.commit}")
        document = reply.document if isinstance(reply.document, dict) and not reply.is_a_trackers else {}
        rows = document.get("siblings")
        if document.get("sha") != one.commit or not isinstance(rows, list):
            return None
        theirs = {str(row.get("rfilename")) for row in rows if isinstance(row, dict)}
        for path in sorted(theirs - ours)[:1]:
            return Doubt(one, path, f"{path} of {one.commit[:12]} is on the Hub, and for the LAN there is no such file")
        for path in sorted(ours - theirs if len(theirs) < NAMES else ())[:1]:
            return Doubt(one, path, f"{path} of {one.commit[:12]} is there for the LAN, and the Hub has no such file")
        return None

    def _look_at(self, one: Answered, file: File) -> Doubt | None:
        path = file.path.value
        try:
            said = self._sampling.describe(one.endpoint.rstrip("/") + one.repo.file_route(one.commit, path))
        except HubNo as no:
            if no.code == NO_SUCH_FILE:
                return Doubt(one, path, f"{path} of {one.commit[:12]} is {file.etag} for the LAN, and the Hub has no such file")
            raise
        headers = {name.lower(): text for name, text in said.items()}
        if TRACKERS_OWN.lower() in headers or headers.get("x-repo-commit") != one.commit:
            return None  # no Hub, or a proxy's page
        etag = (headers.get("x-linked-etag") or headers.get("etag") or "").removeprefix("W/").strip('"')
        size = headers.get("x-linked-size") or headers.get("content-length") or ""
        if etag == file.etag.value and size in ("", str(file.size_bytes)):
            return None
        theirs = f"{etag or 'without an etag'}, {size or '?'} bytes"
        return Doubt(
            one,
            path,
            f"{path} of {one.commit[:12]} is {file.etag}, {file.size_bytes} bytes, for the LAN, and {theirs}, for the Hub",
        )

    def _say(self, doubt: Doubt) -> None:
        log.error("the LAN's answers for %s are not used any more on this machine: %s", doubt.of.repo, doubt.words)
        try:
            self._tell(doubt)
        except TrackerError as error:
            log.info("the tracker was not told: %s", error)
