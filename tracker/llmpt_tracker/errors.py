"""What the tracker says no with.

::

    LlmptError                a sentence that can be shown to a user; anything else that escapes is our bug
    ├── Refused               an answer with a status, a code and a sentence; shown to the client that asked
    │   └── RefusedAsHub        the same in the Hub's words, to a client of the Hub's API
    ├── UpstreamRefused       the Hub behind this one said no, in its own words
    ├── AnnouncerUnavailable  the announcer gave no answer in time: 503, try again
    ├── ValkeyUnavailable     the replicas of this tracker cannot tell each other anything now: each goes on alone
    ├── SeedersBusy           a seeder that may have a file does not say so now: 503, try again
    ├── TooManyWait           as many requests wait for something as may: 503, try again
    ├── DatabaseUnavailable   the database is busy, full or away: 503, try again
    └── ClientError           an announce or scrape that cannot be; the peer is told as `failure reason`
    StartEnded                a process of the tracker ended, or was told to, before all was ready (no message)
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


class RefusedAsHub(Refused):
    """The answer is no, in the Hub's words. `commit`: that commit is known not to hold the file."""

    def __init__(
        self, status: int, code: str, message: str, *, commit: str | None = None, retry_after_s: int | None = None
    ) -> None:
        super().__init__(status, code, message, retry_after_s=retry_after_s)
        self.commit = commit


class UpstreamRefused(LlmptError):
    """Upstream said no, in its own words: `status` of HTTP, `code` of X-Error-Code, `retry_after_s` for a 429."""

    def __init__(self, status: int, code: str, message: str, retry_after_s: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.retry_after_s = retry_after_s


class AnnouncerUnavailable(LlmptError):
    """The announcer did not answer, or said that it could not."""


class ValkeyUnavailable(LlmptError):
    """What the replicas share did not answer in time."""


class SeedersBusy(LlmptError):
    """No seeder says that it has a file, and one that lives cannot say whether it has: it is full, slow, or has just started."""


class TooManyWait(LlmptError):
    """A request would have to wait for something, and as many do as may."""


class DatabaseUnavailable(LlmptError):
    """The database could not do what was asked of it. The cause says why, to the log; the sentence says what helps.

    `code` is stable, for programs: `database_busy`, `disk_full`, `database_unavailable`.
    """

    def __init__(self, message: str, *, code: str = "database_unavailable") -> None:
        super().__init__(message)
        self.code = code


class ClientError(LlmptError):
    """What the client asked for cannot be: the text is told to it as `failure reason`."""


class StartEnded(Exception):
    """A child has ended, or we were asked to end, before all was ready."""
