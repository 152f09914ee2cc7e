"""An agent in the background: it belongs to no terminal and no program, and tells its starter when it answers."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

from llmpt.agent import daemon
from llmpt.core.errors import LlmptError
from llmpt.core.words import plain
from llmpt.link import paths
from llmpt.link.lock import AlreadyRunning
from llmpt.settings import ClientSettings

MAX_LOG_BYTES = 5 << 20


def daemonize(settings: ClientSettings, environ: Mapping[str, str]) -> int:
    """Start an agent that has no parent; return 0 once it (or one that runs already) answers, 1 otherwise.

    With LLMPT_AGENT=job it belongs to the process that has started this one.
    """
    starter = os.getppid()
    log_file = paths.log_path(environ)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        os.setsid()
        if os.fork() == 0:
            _be_daemon(settings, environ, starter, log_file, writer)
        os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    with os.fdopen(reader) as pipe:
        answer = pipe.read()
    if answer == "ready":
        return 0
    print(f"llmpt agent: {plain(answer or f'it ended at once; see {log_file}')}", file=sys.stderr)  # noqa: T201
    return 1


def _be_daemon(settings: ClientSettings, environ: Mapping[str, str], starter: int, log_file: Path, writer: int) -> None:
    """The grandchild: detached, logging to a file, telling the starter through the pipe how it went."""
    with os.fdopen(writer, "w", errors="backslashreplace") as pipe:

        def tell(answer: str) -> None:
            if not pipe.closed:
                with contextlib.suppress(BrokenPipeError):  # it did not wait so long; the agent is there all the same
                    pipe.write(answer)
                    pipe.close()

        code = 1
        try:
            _detach(log_file)
            daemon.run(settings, environ, starter=starter, ready=lambda: tell("ready"))
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
    """Leave behind what is still the starter's: its terminal, and its standard streams."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    if log_file.exists() and log_file.stat().st_size > MAX_LOG_BYTES:
        log_file.replace(log_file.with_suffix(".log.1"))
    null = os.open(os.devnull, os.O_RDONLY)
    log_fd = os.open(log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for source, target in ((null, 0), (log_fd, 1), (log_fd, 2)):
        os.dup2(source, target)
    os.close(null)
    os.close(log_fd)
