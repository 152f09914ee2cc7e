"""Every error that llmpt raises on purpose; those that one room alone needs are classes there.

::

    LlmptError                 a sentence that can be shown to a user; anything else that escapes is our bug
    ├── SettingError           a setting is wrong; names it and says what would be right
    ├── InvalidInput           what we were told cannot be (also a ValueError)
    │   ├── BencodeError       not canonical bencode, or beyond the limits
    │   ├── MetainfoError      bencode, but not a torrent of ours
    │   ├── InvalidName        a repo id, path, ref, commit or etag that the Hub would not have
    │   └── BadRequest         not a request of HTTP that we answer (core.http_head)
    ├── ContentMismatch        bytes that are not what their etag says
    ├── TrackerError
    │   ├── TrackerUnavailable no answer in time, or one that makes no sense
    │   │   ├── TrackerSlow    it is there, and has not answered in time
    │   │   └── TrackerBusy    it is there, and says that it cannot answer now
    │   └── TrackerRefused     an answer, and it is no (status, code, message)
    ├── Abandoned              the program that waited for a step of ours goes on without it
    ├── HubUnreachable         the Hub gave no answer from which anything follows (hub.asking)
    ├── HubNo                  the Hub has answered, and it is no: status, code, message (hub.asking)
    ├── AgentUnavailable       no agent on this machine, and none could be started
    │   ├── AgentEnding        there is one, and it is ending: its successor is to be asked
    │   └── AlreadyRunning     this process cannot be the agent: there is one (link.lock)
    ├── Cancelled              the program that offers a file has gone (agent.seeding.offers)
    ├── Stopped                the program has hung up while its file was copied (agent.transfer.jobs)
    ├── NotWanted              no program waits for the blob any more (agent.transfer.work)
    ├── HashingStopped         the caller asked to stop hashing (disk.torrents)
    ├── FileChanged            a path names another file than the one that was meant (disk.torrents)
    ├── StateUnavailable       what llmpt remembers on this disk cannot be read or written
    ├── FileTaken              another program has removed or replaced the file of a hook (agent.transfer.target)
    ├── Spoilt                 what had arrived was changed on the disk (agent.transfer.leeching)
    ├── NotLocked              a lock on a file keeps no other process away (disk.locking)
    │   └── InUse              another process holds it (disk.locking)
    ├── NotOverHttp            a blob cannot be had by HTTP from the LAN's servers (tracker.blobs)
    ├── Broke                  this server does not send the blob now; another one may (tracker.blobs)
    ├── NotInParts             the rest of a file cannot be fetched alone, so the library fetches all of it (hook.fallback)
    │   └── DiskFull           there is no room for the rest (hook.fallback)
    ├── NoAnswer               the LAN does not answer, and the Hub may not be asked (hook.questions.exchange)
    ├── HubDisagrees           the Hub gives another file than the LAN has said it is (hook.call; also an OSError)
    ├── DiskRefused            nothing more can be written to the disk (archive.disk)
    ├── Forged                 a signature that is not that of the key (identity.keys)
    ├── Occupied               there is another file where one is imported to (archive.hub_cache)
    └── SwarmError             libtorrent is missing, or said no
"""

from __future__ import annotations


class LlmptError(Exception):
    """The root: its text is a sentence fit for the person at the keyboard."""


class SettingError(LlmptError):
    """A setting has a value that cannot be used."""


class InvalidInput(LlmptError, ValueError):
    """Something we were told cannot be."""


class BencodeError(InvalidInput):
    """Not canonical bencode, or beyond the limits that we accept."""


class MetainfoError(InvalidInput):
    """Well-formed bencode that is not the metainfo of one blob."""


class InvalidName(InvalidInput):
    """A repo id, repo type, path, ref, commit or etag that cannot be one."""


class ContentMismatch(LlmptError):
    """The bytes of a file are not what its etag says."""


class TrackerError(LlmptError):
    """The tracker could not be used."""


class TrackerUnavailable(TrackerError):
    """The tracker gave no answer in time, or one that makes no sense."""


class TrackerSlow(TrackerUnavailable):
    """The tracker took the question and has not answered in time: it may just have too much to do."""


class TrackerBusy(TrackerUnavailable):
    """The tracker answered that it cannot answer now, and may at any moment."""


class TrackerRefused(TrackerError):
    """The tracker answered, and the answer is no; `retry_after_s` says when it may be another one."""

    def __init__(self, message: str, *, status: int, code: str, retry_after_s: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.retry_after_s = retry_after_s


class Abandoned(LlmptError):
    """The program that waited for a step of ours goes on without it: the step ends, and what it has got is kept."""


class AgentUnavailable(LlmptError):
    """No agent runs on this machine, and none could be started."""


class AgentEnding(AgentUnavailable):
    """The agent that was asked is ending, and has done nothing: its successor is to be asked."""


class StateUnavailable(LlmptError):
    """The file in which llmpt remembers what it did cannot be read or written: a full disk, a broken file."""


class SwarmError(LlmptError):
    """libtorrent is not here, or refused what was asked."""
