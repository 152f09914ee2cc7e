"""Several replicas of one tracker on this host, behind a real nginx, over a PostgreSQL and a Valkey of their own."""

from __future__ import annotations

import tempfile
import threading
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

from tests.support import nginx
from tests.support.ports import free_ports
from tests.support.postgresql import PostgresProcess, programs
from tests.support.tracker import TrackerProcess
from tests.support.valkey import ValkeyProcess, program
from tests.support.waiting import eventually

MISSING = "needs nginx, PostgreSQL and Valkey or Redis (Debian: apt-get install nginx-light postgresql redis-server)"
ARE_HERE = nginx.PROGRAM is not None and programs() is not None and program() is not None

# As compose/compose.scale.yaml has it, with the replicas by their ports in place of one name.
CONFIG = """
    proxy_http_version 1.1;
    proxy_connect_timeout 1s;
    proxy_next_upstream error timeout non_idempotent;
    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    proxy_set_header X-Forwarded-Proto $scheme;
    proxy_set_header X-Forwarded-Host $http_host;
    proxy_set_header Connection "";
    upstream api {{ {apis} keepalive 16; }}
    upstream announces {{ {announces} keepalive 16; }}
    server {{ listen 127.0.0.1:{http_port}; location / {{ proxy_pass http://api; }} }}
    server {{ listen 127.0.0.1:{announce_port}; location / {{ proxy_pass http://announces; }} }}
"""


class Replicas:
    """A context manager. `http_port` and `announce_port` are the proxy's."""

    def __init__(self, root: Path, *, count: int) -> None:
        self.root, self._count = root, count
        self.trackers: list[TrackerProcess] = []
        self.http_port, self.announce_port = free_ports(2)
        self._stack = ExitStack()

    def __enter__(self) -> Replicas:
        with ExitStack() as stack:
            self.postgresql = stack.enter_context(PostgresProcess())
            self.valkey = stack.enter_context(ValkeyProcess())
            settings = {
                "LLMPT_DATABASE_URL": self.postgresql.create("llmpt").replace("+psycopg", ""),
                "LLMPT_VALKEY_URL": self.valkey.url,
                "LLMPT_TRUSTED_PROXIES": "127.0.0.1",
                "LLMPT_UDP_ANNOUNCE_PORT": "0",
            }
            for number in range(self._count):
                tracker = TrackerProcess(self.root / "data", settings=settings)
                tracker.log = self.root / f"replica{number}.log"
                self.trackers.append(tracker)
                stack.callback(tracker.stop)
            starting = [threading.Thread(target=tracker.start) for tracker in self.trackers]
            for one in starting:  # all at once, in an empty folder
                one.start()
            for one in starting:
                one.join()
            assert all(tracker.http_port for tracker in self.trackers), "a replica did not start"
            self._start_proxy(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stack.__exit__(kind, error, trace)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"

    @property
    def announce_url(self) -> str:
        return f"http://127.0.0.1:{self.announce_port}/announce"

    def deciding(self) -> TrackerProcess:
        """Return the one that lends the leases now."""
        said = {tracker: tracker.log.read_text() for tracker in self.trackers if tracker.running}
        return max(said, key=lambda tracker: said[tracker].count("decides for all") - said[tracker].count("no longer decides"))

    def _start_proxy(self, stack: ExitStack) -> None:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="llmpt-nginx-")))
        line = "server 127.0.0.1:{} max_fails=1 fail_timeout=2s;"
        apis = " ".join(line.format(one.http_port) for one in self.trackers)
        announces = " ".join(line.format(one.announce_port) for one in self.trackers)
        ports = {"http_port": self.http_port, "announce_port": self.announce_port}
        stack.enter_context(nginx.running(root, CONFIG.format(apis=apis, announces=announces, **ports)))
        eventually(self._answers, what="nginx answers")

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/healthz", timeout=5):
                return True
        except OSError:
            return False
