"""What the seeder fails with; all of it stands here, and each is caught within the seeder.

::

    LlmptError               a sentence that can be shown to a user; anything else that escapes is our bug
    ├── NoLife               no sign of life comes from the seeder; its container is started anew
    ├── CacheMissing         there is no Hub cache where one was said to be
    ├── FetchFailed          a file of upstream did not come; the mirror that wants it is told why
    ├── InDoubt              whether a file is here is not known now: its manifest is put off, its clients are told to come back
    ├── Cut                  an answer of the blob server cannot be finished: its connection is reset
    └── Throttled            upstream answered 429, in the process that fetches

What the Hub says no with (`HubNo`), and that it says nothing (`HubUnreachable`), is the client's: llmpt.hub.asking.
"""

from __future__ import annotations

from llmpt.core.errors import LlmptError


class CacheMissing(LlmptError):
    """There is no Hub cache where one was said to be, or it cannot be read."""


class NoLife(LlmptError):
    """No sign of life comes from a seeder, or from one of its loops."""


class FetchFailed(LlmptError):
    """A file did not come.

    status, code, retry_after_s: the Hub's, when it said no
    final: it is no use to try again soon, because there is no room, or what came is not what it should be
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        code: str | None = None,
        retry_after_s: int | None = None,
        final: bool = False,
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.retry_after_s, self.final = status, code, retry_after_s, final

    @property
    def may_pass(self) -> bool:
        """Whether trying again may help."""
        return not self.final and (self.status is None or self.status in (408, 429) or self.status >= 500)


class InDoubt(LlmptError):
    """A file has not been read yet, its torrent is not published, or it cannot be looked at: it may be here, or not."""


class Cut(LlmptError):
    """The answer cannot be finished: the connection ends before its Content-Length."""


class Throttled(LlmptError):
    """The Hub answered 429; `retry_after_s` is when to come again, if it said so."""

    def __init__(self, retry_after_s: int | None) -> None:
        super().__init__("the Hub asks to wait (429)")
        self.retry_after_s = retry_after_s
