"""What the tracker's application says no with.

::

    LlmptError
    ├── Refused               an answer with a status, a code and a sentence; shown to whoever asked
    └── AnnouncerUnavailable  the announcer gave no answer in time: 503, try again
"""

from __future__ import annotations

from llmpt.core.errors import LlmptError


class Refused(LlmptError):
    """The answer is no: HTTP `status`, a stable `code` for programs, a sentence for people; perhaps when to try again."""

    def __init__(self, status: int, code: str, message: str, *, retry_after_s: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.retry_after_s = retry_after_s


class AnnouncerUnavailable(LlmptError):
    """The announcer did not answer, or said that it could not."""
