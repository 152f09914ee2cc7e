"""The agent put together: lock, engine, inventory, directory, transfers, socket, in that order, and back again.

`run` is the foreground process (`llmpt agent run`); `daemonize` is how the hook and `llmpt agent start` start one that
outlives them: it returns once the socket answers.
"""

from __future__ import annotations

import fcntl
import logging
import os
import signal
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from llmpt.agent import messages
from llmpt.agent.directory import WATCH_INTERVAL_S, Directory
from llmpt.agent.offers import Offers
from llmpt.agent.server import Server
from llmpt.core.errors import AgentUnavailable, LlmptError, SettingError
from llmpt.core.networks import address_towards
from llmpt.settings import ClientSettings, state_dir
from llmpt.tracker_client import TrackerClient

log = logging.getLogger("llmpt.agent")

SWEEP_INTERVAL_S = 10.0
MAX_LOG_BYTES = 5 << 20


def main(arguments: Sequence[str]) -> int:
    """Run an agent for this user; `--daemonize` in the background. Returns the exit code."""
    try:
        settings = ClientSettings.read()
        if "--daemonize" in arguments:
            return daemonize(settings, os.environ)
        run(settings, os.environ)
    except LlmptError as error:
        print(f"llmpt agent: {error}", file=sys.stderr)  # noqa: T201 - the program's own words, for a person or the log
        return 1
    return 0


def run(settings: ClientSettings, environ: Mapping[str, str], *, ready: Callable[[], None] = lambda: None) -> None:
    """Be the agent until SIGTERM, Ctrl-C or `llmpt agent stop`; `ready` is called once the socket answers.

    Raises `SettingError` without a tracker, `AgentUnavailable` when another agent runs already, `SwarmError` when
    libtorrent is missing or cannot listen.
    """
    if settings.tracker is None:
        raise SettingError("no tracker: set LLMPT_TRACKER to the server's address, e.g. http://server:8000")
    from llmpt.agent.seeds import Seeds
    from llmpt.agent.transfers import Transfers
    from llmpt.inventory import Inventory
    from llmpt.swarm import ALERTS_THREAD, Engine, EngineSettings, free_port

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    stopping = threading.Event()
    client = TrackerClient(settings.tracker)
    with ExitStack() as stack:
        stack.enter_context(_only_agent(environ))
        inventory = stack.enter_context(_inventory(Inventory))
        engine_settings = EngineSettings(
            listen=settings.bind,
            port=free_port(settings.peer_port),
            peer_cidrs=settings.peer_cidrs,
            announce_address=address_towards(client.host, client.port),
            upload_limit=settings.upload_limit,
            download_limit=settings.download_limit,
            shares=settings.share,
        )
        engine = stack.enter_context(Engine(engine_settings, user_agent="llmpt-agent"))
        seeds = Seeds(engine, inventory)
        directory = Directory(client)
        transfers = Transfers(engine, directory, seeds, stall_timeout_s=settings.stall_timeout_s)
        started = time.monotonic()

        def booted(announce_url: str) -> None:
            engine.set_announce_url(announce_url)
            engine.reannounce()

        def status() -> dict[str, Any]:
            uploaded = engine.uploaded()
            receivers = engine.receivers()
            totals = engine.totals()
            return {
                "pid": os.getpid(),
                "uptime_s": round(time.monotonic() - started, 1),
                "tracker": client.url,
                "tracker_answers": directory.answers,
                "port": engine.port,
                "uploaded_bytes": totals.uploaded_bytes,
                "downloaded_bytes": totals.downloaded_bytes,
                "upload_rate_bytes_s": totals.upload_rate_bytes_s,
                "download_rate_bytes_s": totals.download_rate_bytes_s,
                "peers": totals.peers,
                "seeding": [
                    {
                        "etag": str(b.etag),
                        "size": b.size,
                        "path": str(b.path),
                        "uploaded_bytes": uploaded.get(b.etag, 0),
                        "to": [{"address": to.address, "rate_bytes_s": to.rate_bytes_s} for to in receivers.get(b.etag, ())],
                    }
                    for b in seeds.all()
                ],
                "downloads": [record.as_json() for record in list(transfers.records)],
            }

        def crashed(hook: threading.ExceptHookArgs) -> None:
            """A bug in a thread: noted, and if it was the swarm's the agent ends, for the next download to start another."""
            log.error("a bug of llmpt", exc_info=(hook.exc_type, hook.exc_value or hook.exc_type(), hook.exc_traceback))
            if hook.thread is not None and hook.thread.name == ALERTS_THREAD:
                stopping.set()

        threading.excepthook = crashed
        directory.on_boot = booted
        seeds.restore()
        server = Server(
            messages.socket_path(environ),
            tracker=settings.tracker,
            fetch=transfers.fetch,
            landed=seeds.landed,
            offers=Offers(directory, seeds),
            status=status,
            stop=stopping.set,
        )
        stack.enter_context(server)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stopping.set())
        log.info("agent %d ready at %s, peers on port %d", os.getpid(), messages.socket_path(environ), engine.port)
        ready()
        watch = threading.Thread(target=_watch, args=(directory, stopping), name="tracker-watch", daemon=True)
        watch.start()
        while not stopping.wait(SWEEP_INTERVAL_S):
            seeds.sweep()
            if not server.in_place():
                log.info("the socket's folder has gone; ending")
                break
        stopping.set()


def daemonize(settings: ClientSettings, environ: Mapping[str, str]) -> int:
    """Start an agent that belongs to nobody; return 0 once it (or one that runs already) answers, 1 otherwise."""
    log_file = messages.log_path(environ)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        os.setsid()
        if os.fork() == 0:
            _be_daemon(settings, environ, log_file, writer)
        os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    with os.fdopen(reader) as pipe:
        answer = pipe.read()
    if answer == "ready":
        return 0
    print(f"llmpt agent: {answer or f'it ended at once; see {log_file}'}", file=sys.stderr)  # noqa: T201
    return 1


def _be_daemon(settings: ClientSettings, environ: Mapping[str, str], log_file: Path, writer: int) -> None:
    """The grandchild: detached, logging to a file, telling the starter through the pipe how it went."""
    with os.fdopen(writer, "w") as pipe:

        def tell(answer: str) -> None:
            if not pipe.closed:
                pipe.write(answer)
                pipe.close()

        code = 1
        try:
            _detach(log_file)
            run(settings, environ, ready=lambda: tell("ready"))
            code = 0
        except AlreadyRunning:
            tell("ready")
            code = 0
        except (LlmptError, OSError) as error:
            tell(str(error))
        finally:
            logging.shutdown()
            os._exit(code)  # never back into the starter's stack


def _detach(log_file: Path) -> None:
    if log_file.exists() and log_file.stat().st_size > MAX_LOG_BYTES:
        log_file.replace(log_file.with_suffix(".log.1"))
    null = os.open(os.devnull, os.O_RDONLY)
    log_fd = os.open(log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for source, target in ((null, 0), (log_fd, 1), (log_fd, 2)):
        os.dup2(source, target)
    os.close(null)
    os.close(log_fd)
    os.chdir("/")


class AlreadyRunning(AgentUnavailable):
    """Another agent of this user holds the lock."""


@contextmanager
def _only_agent(environ: Mapping[str, str]) -> Iterator[None]:
    """Hold the lock that makes this the only agent; the kernel lets go of it however the process ends."""
    path = messages.runtime_dir(environ) / "agent.lock"
    with path.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise AlreadyRunning("an agent runs already; `llmpt agent status` shows it, `llmpt agent stop` ends it") from None
        yield


def _inventory(kind: Any) -> Any:
    path = state_dir() / "agent.db"
    try:
        return kind(path)
    except (sqlite3.Error, OSError) as error:
        raise AgentUnavailable(f"the agent's state at {path} cannot be used: {error}") from None


def _watch(directory: Directory, stopping: threading.Event) -> None:
    """Look at the tracker now and then: it may have been restarted, and then it knows nothing of us."""
    directory.contact()
    while not stopping.wait(WATCH_INTERVAL_S):
        directory.contact()
