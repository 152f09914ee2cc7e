"""How gunicorn serves the application. Names that an older gunicorn does not know are ignored by it."""

from __future__ import annotations

import os
from pathlib import Path

# Threads keep a slow client from holding up the others; a few processes, because threads of one process hand the GIL to
# and fro between cores.
worker_class = "gthread"
workers = max(2, min(4, os.cpu_count() or 1))
threads = 4

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
