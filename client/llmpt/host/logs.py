"""What our processes log, to stderr: a line for each message, whatever a stranger's words in it are.

As text, or as JSON for programs that collect logs: an object a line, with `time` (UTC), `level`, `logger`, `message`, and, where
there are such, `request_id` and `traceback`.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
import time
from collections.abc import Callable
from datetime import datetime, timezone

from llmpt.core import request_id
from llmpt.core.words import plain, plain_lines

MAX_MESSAGE, MAX_TRACEBACK = 4000, 20_000
TEXT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
JSON = "json"
REQUESTS_A_SECOND = 50


class PlainFormatter(logging.Formatter):
    """Makes no line but the message's own, and those of a traceback; each is printable. The id of its request ends a message."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the library's name
        record.message = _message(record)
        line, asked = super().formatMessage(record), request_id.current()
        return f"{line} [{asked}]" if asked else line

    def format(self, record: logging.LogRecord) -> str:
        return plain_lines(super().format(record))


class JsonFormatter(logging.Formatter):
    """Makes one line of everything, a traceback, too."""

    def format(self, record: logging.LogRecord) -> str:
        record.message = record.getMessage()
        entry = {
            "time": datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": _message(record),
        }
        if asked := request_id.current():
            entry["request_id"] = asked
        if record.exc_info:
            entry["traceback"] = plain_lines(self.formatException(record.exc_info)[-MAX_TRACEBACK:])
        return json.dumps(entry)


def formatter(form: str, *, text: str = TEXT) -> logging.Formatter:
    """Return what writes lines in the form that LLMPT_LOG names; `text` is how those of text look."""
    return JsonFormatter() if form == JSON else PlainFormatter(text)


def log_to_stderr(form: str, *, level: int = logging.INFO, text: str = TEXT) -> None:
    """Have this process log to stderr. To be called once, where it begins."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter(form, text=text))
    logging.basicConfig(level=level, handlers=[handler])


class RequestLines:
    """A line for each request that came with an id: so many a second at most, lest a machine drown what else is said.

    What is left out is counted in the next line.
    """

    def __init__(
        self, say: Callable[..., object], *, most: int = REQUESTS_A_SECOND, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._say, self._most, self._clock = say, most, clock
        self._lock = threading.Lock()
        self._second, self._said, self._left_out = 0, 0, 0

    def __call__(self, sentence: str, *filled_in: object) -> None:
        """Say it, as a logger does, if it is of a request with an id and there is room."""
        if not request_id.current():
            return
        with self._lock:
            if (second := int(self._clock())) != self._second:
                self._second, self._said = second, 0
            if self._said >= self._most:
                self._left_out += 1
                return
            self._said += 1
            left_out, self._left_out = self._left_out, 0
        if left_out:
            self._say(f"{sentence} (before it %d were left out)", *filled_in, left_out)
        else:
            self._say(sentence, *filled_in)


def _message(record: logging.LogRecord) -> str:
    return plain(record.message.replace("\n", " "), longest=MAX_MESSAGE)
