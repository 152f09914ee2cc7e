"""How gunicorn serves the application. Names that an older gunicorn does not know are ignored by it."""

from __future__ import annotations

import os
from pathlib import Path

# Threads keep a slow client from holding up the others; processes, because threads of one process hand the GIL to and fro
# between cores. Look-ups per second on two cores (32 connections, wrk on the same two): 1×4 300, 2×4 570, 2×8 520, 4×4 330.
worker_class = "gthread"
workers = max(2, min(4, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1))
threads = 4
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
loglevel = "warning"
