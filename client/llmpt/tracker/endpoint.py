"""The tracker's own endpoint of the Hub's API, asked as a client of the Hub asks it, and never with a token of the Hub's.

endpoint = HubEndpoint("http://server:8000").standing_in_for("https://huggingface.co")
reply = endpoint.ask("GET", "/api/models/org/name/revision/main", program="hf_hub/1.33.0")
"""

from __future__ import annotations

import copy
import http.client
from dataclasses import dataclass

from llmpt.core import request_id
from llmpt.core.errors import TrackerUnavailable
from llmpt.core.hub_headers import ASKED_HUB
from llmpt.core.hub_target import hub_name
from llmpt.net.authorities import SYSTEM, Trust
from llmpt.net.kept import KeptConnections, ServerPlace
from llmpt.tracker.blob_streams import Stretch
from llmpt.tracker.reading import ReadToken
from llmpt.tracker.url import HttpUrl
from llmpt.tracker.wire import MAX_ANSWER_BYTES, NETWORK_ERRORS, Wire, reason_of, user_agent

ANSWER_S = 5.0  # the listing of a large commit takes a server a moment
# Of the connection; and where the next page of a list is: at the tracker, where a library would send its user's token.
_OF_THE_HOP = frozenset(
    {
        "link",
        "connection",
        "keep-alive",
        "transfer-encoding",
        "te",
        "trailer",
        "upgrade",
        "server",
        "date",
        "set-cookie",
        "proxy-authenticate",
    }
)


@dataclass(frozen=True, slots=True)
class EndpointReply:
    """An answer as a Hub gives it: its status, its headers in order, and its body.

    That to a HEAD has the headers of the whole, and no body. `rest` is a body that is still to come, in place of `body`.
    """

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes = b""
    rest: Stretch | None = None

    def header(self, name: str) -> str | None:
        """Return the value of a header, whatever the case of its name."""
        return next((value for found, value in self.headers if found.lower() == name.lower()), None)


class HubEndpoint:
    """That of the tracker at `url`. Safe to share among threads; its connections are kept for the next question."""

    def __init__(self, url: str, *, trust: Trust = SYSTEM, reader: ReadToken | None = None, answer_s: float = ANSWER_S) -> None:
        """`trust` says what its certificate is held to; `reader` has the token to read with, where that takes one."""
        self._url, self._reader = HttpUrl.parse(Wire(url).url), reader or ReadToken()
        self._kept, self._answer_s, self._hub = KeptConnections(trust), answer_s, ""

    def standing_in_for(self, hub: str) -> HubEndpoint:
        """Return this endpoint as it answers for one Hub alone: where that is not the tracker's, it answers `OTHER_HUB`."""
        found = copy.copy(self)
        found._hub = hub_name(hub)
        return found

    def ask(self, method: str, target: str, *, program: str, part: str = "", body: bytes = b"", kind: str = "") -> EndpointReply:
        """Ask; `program` is the asker's User-Agent, `part` a Range, `kind` the type of `body`. Raises `TrackerUnavailable`."""
        headers = {"User-Agent": f"{program} {user_agent()}".strip(), "Accept-Encoding": "identity", **request_id.header()}
        headers |= {name: text for name, text in (("Range", part), ("Content-Type", kind), (ASKED_HUB, self._hub)) if text}
        while True:
            sent = self._reader.header()
            reply = self._ask(method, target, {**headers, **sent}, body or None)
            if not self._reader.was_asked(reply.status, bool(sent)):
                return reply

    def _ask(self, method: str, target: str, headers: dict[str, str], body: bytes | None) -> EndpointReply:
        place = ServerPlace(self._url.host, self._url.port, self._url.tls)
        target = self._url.target + target
        try:
            with self._kept.asked(method, place, target, headers, whole_s=self._answer_s, body=body) as response:
                content = response.read(MAX_ANSWER_BYTES + 1)
                if len(content) > MAX_ANSWER_BYTES:
                    raise http.client.HTTPException(f"an answer of more than {MAX_ANSWER_BYTES} bytes")
                response.read(1)
        except NETWORK_ERRORS as error:
            raise TrackerUnavailable(f"no answer from the tracker at {self._url.text}: {reason_of(error)}") from None
        kept = tuple((name, text) for name, text in response.headers.items() if name.lower() not in _OF_THE_HOP)
        return EndpointReply(response.status, kept, content)
