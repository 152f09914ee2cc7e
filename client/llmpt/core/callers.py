"""Whether a request comes from a web page, for the servers that read heads by themselves: the announcer, the blob server."""

from __future__ import annotations

from functools import lru_cache

from llmpt.core.browsers import Caller, HostNames, Refusal, effect_refusal, refusal
from llmpt.core.http_head import BadRequest, Head

_MAX_REMEMBERED = 300  # bytes of header lines: a client of BitTorrent says the same few in each request
_FIELDS = (b"host", b"origin", b"referer", b"sec-fetch-site", b"user-agent")


class Callers:
    """Who is answered under some host names. `check` is quick for who says the same again."""

    def __init__(self, names: HostNames) -> None:
        self._names = names
        self._remembered = lru_cache(maxsize=512)(self._refusal)

    def check(self, head: Head) -> None:
        """Raise `BadRequest` unless the request, which has an effect, may be answered (llmpt.core.browsers)."""
        refused = (self._remembered if len(head.fields) <= _MAX_REMEMBERED else self._refusal)(head.fields)
        if refused is not None:
            raise BadRequest(refused.status, refused.message)

    def _refusal(self, fields: bytes) -> Refusal | None:
        head = Head(b"", b"", b"", b"", fields)
        caller = Caller(*(head.field(name).decode("latin-1") for name in _FIELDS))
        return refusal(caller, self._names) or effect_refusal(caller)
