"""What the hook logs: in the program's own logging, each line with the id of its request; as JSON on stderr with LLMPT_LOG=json.

Which levels are said is the program's to choose: it is our host.
"""

from __future__ import annotations

import logging
import sys

from llmpt.core import request_id
from llmpt.host.logs import JSON, formatter

_log = logging.getLogger("llmpt")
_handlers: list[logging.Handler] = []  # ours, of the one hook of this process


def put() -> None:
    """Name requests in what the hook logs from here on."""
    _log.addFilter(_named)


def use(form: str) -> None:
    """Log in the form that LLMPT_LOG names."""
    if form == JSON and not _handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(formatter(form))
        _handlers.append(handler)
        _log.addHandler(handler)
        _log.propagate = False


def take_back() -> None:
    """Leave the program's logging as it was found."""
    _log.removeFilter(_named)
    while _handlers:
        _log.removeHandler(_handlers.pop())
        _log.propagate = True


def _named(record: logging.LogRecord) -> bool:
    """Have a line end with its request's id, where it has no field for that."""
    if (asked := request_id.current()) and not _handlers:
        record.msg, record.args = f"{record.getMessage()} [{asked}]", ()
    return True
