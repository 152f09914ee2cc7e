"""What our processes log, to stderr: a line for each message, whatever a stranger's words in it are."""

from __future__ import annotations

import logging
import sys

from llmpt.core.words import plain, plain_lines

MAX_MESSAGE = 4000
FORM = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class PlainFormatter(logging.Formatter):
    """Makes no line but the message's own, and those of a traceback; each is printable."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the library's name
        record.message = plain(record.message.replace("\n", " "), longest=MAX_MESSAGE)
        return super().formatMessage(record)

    def format(self, record: logging.LogRecord) -> str:
        return plain_lines(super().format(record))


def log_to_stderr(*, level: int = logging.INFO, form: str = FORM) -> None:
    """Have this process log to stderr. To be called once, where it begins."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(PlainFormatter(form))
    logging.basicConfig(level=level, handlers=[handler])
