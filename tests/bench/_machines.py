"""Many machines, each a process with the agent's own modules and an address of its own; what becomes of all that they ask.

Its argument is a JSON object: `{"tracker", "first", "machines", "commit", "files": [[etag, size], …], "at", "within_s",
"folder"}`. Each machine starts within `within_s` of the time `at` as an agent does: it asks how the tracker is and how that sees
it, gets a token, and eight workers look the files up; what is found is announced, what is not is asked for with a lease. Prints
`{"questions": {path: count}, "files": {outcome: count}, "first_s": […], "all_s": […]}`: when each machine had its first and its
last answer. Machines are forked, and run with the lowest priority: real ones have
processors of their own, and threads that do not wait for those of a hundred others.
"""

from __future__ import annotations

import http.client
import json
import logging
import os
import queue
import random
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from llmpt.agent.directory import Directory
from llmpt.agent.sharing.leases import AwaitedBlob, Leases
from llmpt.agent.sharing.right import Sharing
from llmpt.agent.transfer.sight import Away, Lacking, Unusable
from llmpt.agent.transfer.sources import look_up
from llmpt.agent.transfer.timings import JobTimings
from llmpt.core.blob import Etag
from llmpt.core.errors import TrackerError
from llmpt.core.leases import LeaseRole
from llmpt.core.repo import Commit, RepoCommit, RepoRef
from llmpt.swarm import Source
from llmpt.tracker.client import TrackerClient

WORKERS = 8  # of a snapshot_download
PORT = 7000
MACHINES = "10.67.0.0/16"
TIMINGS = JobTimings()
REPO = RepoRef("model", "org/name")

_here = threading.local()
_questions: Counter[str] = Counter()


def _counting(request: Callable[..., None]) -> Callable[..., None]:
    def counted(connection: http.client.HTTPConnection, method: str, url: str, *rest: Any, **options: Any) -> None:
        _questions[f"{method} {'/'.join(url.partition('?')[0].split('/')[: 2 if url.startswith('/blobs/') else 4])}"] += 1
        request(connection, method, url, *rest, **options)

    return counted


def own_address(number: int) -> str:
    """Return the address of a machine: not one of loopback, whose peers are the server's own host to a tracker."""
    return f"10.67.{number // 250}.{number % 250 + 1}"


class _OwnSocket(socket.socket):
    """A socket that comes from the address of its thread's machine."""

    def connect(self, address: Any) -> None:
        if own := getattr(_here, "address", None):
            self.bind((own, 0))
        super().connect(address)


class _Machine:
    """One machine, which wants all files."""

    def __init__(self, number: int, asked: dict[str, Any]) -> None:
        self.outcomes: Counter[str] = Counter()
        self.answered: list[float] = []
        self._address, self._number, self._asked = own_address(number), number, asked
        self._files: queue.SimpleQueue[tuple[Etag, int]] = queue.SimpleQueue()
        for etag, size in asked["files"]:
            self._files.put((Etag(etag), size))
        client = TrackerClient(asked["tracker"]).patient()
        self._directory = Directory(client, peer_port=PORT)
        self._directory.on_boot = lambda _url: None
        file = Path(asked["folder"]) / f"{number}.token"
        self._sharing = Sharing(asked["tracker"], file, client=client.with_token)
        self._over = threading.Event()
        self._leases = Leases(
            lambda poll: self._from_here(lambda: self._sharing.call(lambda one: one.leases(poll))), stall_timeout_s=5.0
        )

    def run(self) -> None:
        time.sleep(max(0.0, self._asked["at"] + random.uniform(0, self._asked["within_s"]) - time.time()))
        self._began = time.monotonic()
        self._leases.start(stop=self._over)
        beside = [self._directory.contact, self._sharing.prepare]
        threads = [threading.Thread(target=self._from_here, args=(do,)) for do in [*beside, *[self._work] * WORKERS]]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self._over.set()

    def _from_here(self, do: Any) -> Any:
        _here.address = self._address
        return do()

    def _work(self) -> None:
        with suppress(queue.Empty):
            while True:
                etag, size = self._files.get_nowait()
                self.outcomes[self._outcome(etag, size)] += 1
                self.answered.append(time.monotonic() - self._began)

    def _outcome(self, etag: Etag, size: int) -> str:
        """Look a blob up as a job does, until there is a source, or a reason to go to the Hub."""
        while True:
            worth, of = TIMINGS.worth_http_bytes, RepoCommit(REPO, Commit(self._asked["commit"]))
            found = look_up(self._directory, etag, size, resumes=False, worth_http_bytes=worth, of=of)
            if isinstance(found, Source):
                return "found" if self._announce(found) else "found, and not announced"
            if isinstance(found, Unusable):
                return f"to the Hub: {found.reason}"
            if isinstance(found, Lacking):
                said = self._lease(etag, size)
                if said != LeaseRole.HERE.value:
                    return said
            assert isinstance(found, Away | Lacking)

    def _lease(self, etag: Etag, size: int) -> str:
        try:
            with self._leases.want(etag, size, REPO) as awaited:
                return self._said(awaited)
        except TrackerError as error:
            return f"to the Hub: {error}"

    def _said(self, awaited: AwaitedBlob) -> str:
        while awaited.lease is None and awaited.error is None:
            if awaited.passed_over_at is not None and time.monotonic() - awaited.passed_over_at > TIMINGS.passed_over_s:
                return "to the Hub: the tracker does not say who fetches it"
            self._leases.await_answer(awaited, 0, 1.0)
        if awaited.lease is None:
            return f"to the Hub: {awaited.error}"
        if awaited.lease.role is LeaseRole.FETCH:
            self._leases.hold(awaited.etag)
        return awaited.lease.role.value

    def _announce(self, found: Source) -> bool:
        host, _, port = (found.announce_url or "").removeprefix("http://").partition("/")[0].rpartition(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=20)
        swarm = "".join(f"%{byte:02x}" for byte in found.metainfo.info_hash.truncated)
        query = f"info_hash={swarm}&peer_id=-LT2110-{self._number:012}&port={PORT}&uploaded=0&downloaded=0&left=1&event=started"
        try:
            connection.request("GET", f"/announce?{query}")
            return b"failure" not in connection.getresponse().read()
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


def main() -> None:
    os.nice(19)
    logging.disable()
    socket.socket = _OwnSocket  # type: ignore[misc]
    http.client.HTTPConnection.request = _counting(http.client.HTTPConnection.request)  # type: ignore[method-assign]
    asked = json.loads(sys.argv[1])
    running = {os.fork() or _be_one(asked["first"] + number, asked) for number in range(asked["machines"])}
    for pid in running:
        os.waitpid(pid, 0)
    ends = [json.loads(_end_of(asked["first"] + number, asked).read_text()) for number in range(asked["machines"])]
    sums = {what: sum((Counter(end[what]) for end in ends), Counter()) for what in ("questions", "files")}
    first, last = ([round(of(end["answered"]), 3) for end in ends] for of in (min, max))
    print(json.dumps({**sums, "first_s": first, "all_s": last}))


def _be_one(number: int, asked: dict[str, Any]) -> NoReturn:
    machine = _Machine(number, asked)
    machine.run()
    said = {"questions": _questions, "files": machine.outcomes, "answered": machine.answered}
    _end_of(number, asked).write_text(json.dumps(said))
    os._exit(0)


def _end_of(number: int, asked: dict[str, Any]) -> Path:
    return Path(asked["folder"]) / f"{number}.json"


if __name__ == "__main__":
    main()
