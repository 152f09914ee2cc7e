"""How gunicorn serves the application. Names that an older gunicorn does not know are ignored by it."""

from __future__ import annotations

import gc
import os
from pathlib import Path

from llmpt.host.listening import raise_descriptor_limit
from llmpt_tracker import seats

raise_descriptor_limit(2 * 4096)  # before the workers are made

# An event loop reads requests and sends answers, so that no thread waits for a client; processes, because threads of one process
# hand the GIL to and fro between cores.
worker_class = "llmpt_tracker.serve.http.worker.LoopWorker"
workers = max(2, min(4, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1))
threads = seats.THREADS  # most only ever wait; a thread that is not needed is not made
worker_connections = 4096  # those of a storm are taken at once, and wait here, where none is refused
backlog = 4096  # the system has a limit of its own: net.core.somaxconn
preload_app = True  # built once, before the fork: nothing in it is connected yet

limit_request_line = 8190  # the default of 4094 is short for a long list of filters
timeout = 60
graceful_timeout = 10
keepalive = 15
worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108  the workers' heartbeats never wait for a disk


# Whose X-Forwarded-… counts is LLMPT_TRUSTED_PROXIES' business, not gunicorn's.
forwarded_allow_ips = ""
forwarder_headers = ""
control_socket_disable = True  # it would listen under the user's home
proc_name = "llmpt-tracker"
accesslog = None
logger_class = "llmpt_tracker.serve.http.logger.GunicornLogger"
loglevel = "warning"


def when_ready(_server: object) -> None:
    """Leave what was loaded to all processes alike: the collector would write into it in each, and make it that one's own."""
    gc.collect()
    gc.freeze()
