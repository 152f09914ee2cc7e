"""The neutral parent of the tracker's two processes: `llmpt-tracker serve`.

In this order: the data folder, the migrations (once, after a copy of the database), the token file, the listening sockets
of the API (so that a taken port is an error before anything runs), the announcer with the closed list of info-hashes loaded
into it before it opens its port, gunicorn with the application. Then it waits; when one process ends, or it is told to,
both end.
"""

from __future__ import annotations

import contextlib
import http.client
import logging
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from llmpt.core.errors import LlmptError, SettingError
from llmpt.host import loops
from llmpt.host.certificate import Certificate
from llmpt.host.data_folder import make_private
from llmpt.host.listening import listen_on
from llmpt.host.loops import Health, Rhythm
from llmpt.host.supervisor import Supervisor
from llmpt.host.tokens import without_tokens
from llmpt.identity.keys import Fingerprint
from llmpt.tracker.url import in_url
from llmpt_tracker.clock import utc_now
from llmpt_tracker.control.client import AnnouncerClient
from llmpt_tracker.database.sessions import Database
from llmpt_tracker.errors import AnnouncerUnavailable, StartEnded
from llmpt_tracker.metrics import FOLDER
from llmpt_tracker.rules import dist
from llmpt_tracker.rules.catalogue import torrents
from llmpt_tracker.serve import folder_lock, state_files
from llmpt_tracker.serve.bookkeeping import Bookkeeping
from llmpt_tracker.serve.key_file import ensure_key
from llmpt_tracker.serve.token_file import ensure_token
from llmpt_tracker.settings import CONTROL_SOCKET, TrackerSettings

log = logging.getLogger(__name__)

START_TIMEOUT_S = 30.0
REGISTER_BATCH = 5000
KEPT_EVERY_S = 60.0
READERS_EVERY_S = 5.0
LIST_EVERY_S = 2.0  # what a replica was not told of


def serve(settings: TrackerSettings, environ: Mapping[str, str]) -> int:
    """Run the tracker until a process ends or a signal comes; return the exit status.

    Raises `SettingError` when a port or the data folder cannot be used.
    """
    make_data_folder(settings.data)
    with contextlib.ExitStack() as stack:
        stack.enter_context(folder_lock.shared(settings.data))
        family = stack.enter_context(Supervisor())
        database = stack.enter_context(open_database(settings))
        ensure_token(settings.token_file, database, now=utc_now())
        fingerprint = ensure_key(settings.key_file).public.fingerprint
        if settings.tls_cert is not None:
            Certificate(settings.tls_cert, settings.tls_key)  # one that cannot be used is an error before anything runs
        sockets = listen_on(settings.bind, settings.http_port, setting="LLMPT_HTTP_PORT")
        for one in sockets:
            stack.callback(one.close)
        runtime = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="llmpt-tracker-")))
        stack.callback(family.stop)  # before the folder with their socket goes away
        control = runtime / "announcer.sock"
        counted = runtime / "metrics"
        counted.mkdir()
        environ = {**without_tokens(environ), CONTROL_SOCKET: str(control), FOLDER: str(counted), "HF_USE_P2P": "0"}
        family.start("the announcer", [sys.executable, "-m", "llmpt_tracker.announcer"], env=environ)
        _start_application(family, sockets, environ, settings)  # it takes a while to load; /healthz waits for the announcer
        try:
            announce_port = _open_announcer(family, database, control, reads_by_token=settings.require_read_token)
            database.engine.dispose()
            host, http_port = sockets[0].getsockname()[:2]
            _await_application(family, host, http_port)
        except StartEnded:
            return family.wait()
        for one in sockets:
            one.close()  # gunicorn alone listens: when it is gone, no client is left hanging
        shown = f"[{host}]" if ":" in host else host
        scheme = "https" if settings.tls_cert else "http"
        print(f"llmpt-tracker: ready, {scheme}://{shown}:{http_port}, announce port {announce_port}", flush=True)  # noqa: T201
        _say_what_to_copy(settings, fingerprint, http_port)
        announcer = stack.enter_context(contextlib.closing(AnnouncerClient(control)))
        books = Bookkeeping(announcer, database)
        ending = threading.Event()
        stack.callback(ending.set)
        if settings.require_read_token:
            loops.start("readers", books.keep_readers, Rhythm(READERS_EVERY_S), stop=ending, health=Health())
        if settings.valkey_url:
            loops.start("the list of torrents", books.keep_list, Rhythm(LIST_EVERY_S), stop=ending, health=Health())
        return family.wait(meanwhile=books.keep, every_s=KEPT_EVERY_S)


def _say_what_to_copy(settings: TrackerSettings, fingerprint: Fingerprint, http_port: int) -> None:
    """Tell the console, which no machine in between can change, by what workstations know this server and its client."""
    print(f"llmpt-tracker: the fingerprint of this server is {fingerprint}", flush=True)  # noqa: T201
    host, scheme = settings.advertise_host or "SERVER", "https" if settings.tls_cert else "http"
    if found := dist.lines(settings.dist, f"{scheme}://{in_url(host)}:{http_port}", host):
        print(f"llmpt-tracker: workstations install the client with {found.online}", flush=True)  # noqa: T201


def make_data_folder(folder: Path) -> None:
    """Make the folder (0700), or close it to others. Raises `SettingError` when it cannot be written, or not be closed."""
    try:
        make_private(folder)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise SettingError(f"LLMPT_DATA={str(folder)!r} cannot be used: {error.strerror}") from None


def open_database(settings: TrackerSettings) -> Database:
    """Return the database, migrated; raise a sentence when it cannot be used."""
    database, came_to = state_files.open_database(settings, now=utc_now())
    if came_to:
        log.info("the database is at schema %s", came_to)
    return database


def _open_announcer(family: Supervisor, database: Database, control: Path, *, reads_by_token: bool) -> int:
    """Load the closed list into the announcer, and who may read, and open its port; return that port."""
    with contextlib.closing(AnnouncerClient(control, timeout_s=10)) as client:
        for _ in _polls(family, "the announcer"):
            try:
                client.status()
                break
            except AnnouncerUnavailable:
                continue
        loaded = after = 0
        with database.reading() as session:
            while batch := torrents.all_swarms(session, after=after, limit=REGISTER_BATCH):
                client.load({swarm: completed for _, swarm, completed in batch})
                after, loaded = batch[-1][0], loaded + len(batch)
        log.info("the announcer knows %d torrents", loaded)
        if reads_by_token:
            Bookkeeping(client, database).keep_readers()
        try:
            return client.open()
        except AnnouncerUnavailable as error:
            raise SettingError(f"the announcer cannot listen (LLMPT_BIND, LLMPT_ANNOUNCE_PORT): {error}") from None


def _start_application(
    family: Supervisor, sockets: Sequence[socket.socket], environ: Mapping[str, str], settings: TrackerSettings
) -> None:
    fds = [one.fileno() for one in sockets]
    command = [sys.executable, "-m", "gunicorn", "--config", "python:llmpt_tracker.serve.gunicorn_conf"]
    for fd in fds:
        command += ["--bind", f"fd://{fd}"]
    family.start("the application", [*command, "llmpt_tracker.app:wsgi()"], env=environ, pass_fds=fds)


def _await_application(family: Supervisor, host: str, port: int) -> None:
    """Wait until the application answers."""
    target = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    for _ in _polls(family, "the application"):
        with contextlib.closing(http.client.HTTPConnection(target, port, timeout=5)) as connection:
            try:
                connection.request("GET", "/healthz")
                connection.getresponse().read()
                return
            except (OSError, http.client.HTTPException):
                continue


def _polls(family: Supervisor, what: str) -> Iterator[None]:
    """Yield, a twentieth of a second apart, until the start-up time is over; raise when that, or a child, has ended."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        if family.stopping or family.ended is not None:
            raise StartEnded
        yield
        time.sleep(0.05)
    raise LlmptError(f"{what} did not start within {START_TIMEOUT_S:g} s")
