"""One look at a tracker, step by step: its name, the connection, the answer, what the answer is."""

from __future__ import annotations

import email.utils
import time
from dataclasses import dataclass

from llmpt.core.documents import read_json
from llmpt.core.words import plain
from llmpt.net.authorities import SYSTEM, Trust
from llmpt.net.http import Bounds, Connection
from llmpt.net.names import NAMES
from llmpt.tracker.url import HttpUrl
from llmpt.tracker.wire import NETWORK_ERRORS, reason_of

TIMEOUT_S = 2.0
NAME_S = 10.0
MAX_BODY_BYTES = 64 << 10
NAME, CONNECTION, ANSWER, KIND, HEALTH, WELL = "name", "connection", "answer", "kind", "health", "well"


@dataclass(frozen=True, slots=True)
class Probe:
    """How far the look got, and what was learned on the way.

    `step`: the step that failed, or `well`.
    `reason`: why it failed.
    `address`: the tracker's address.
    `version`: the tracker's version of llmpt.
    `ahead_s`: by how many seconds the tracker's clock is ahead of ours; None when the tracker did not say.
    """

    step: str
    reason: str = ""
    address: str = ""
    version: str = ""
    ahead_s: float | None = None

    @property
    def well(self) -> bool:
        return self.step == WELL

    @classmethod
    def of(cls, url: str, *, timeout_s: float = TIMEOUT_S, trust: Trust = SYSTEM) -> Probe:
        """Ask the tracker at `url` for its health; never raises for what a network does.

        `timeout_s`: for the connection; twice that for all but the name.
        """
        try:
            server = HttpUrl.parse(url)
            NAMES.places(server.host, server.port, wait_s=NAME_S)
        except OSError as error:
            return cls(NAME, str(error.strerror or reason_of(error)))
        except ValueError as error:  # no URL, or a name that no name server takes
            return cls(NAME, str(error))
        bounds = Bounds.of(2 * timeout_s)
        connection = Connection(server.host, server.port, tls=server.tls and trust, bounds=bounds, connect_s=timeout_s)
        address = ""
        try:
            connection.connect()
            address = connection.address
            connection.request("GET", f"{server.target.rstrip('/')}/healthz", headers={"Connection": "close"})
            response = connection.getresponse()
            body = response.read(MAX_BODY_BYTES)
        except NETWORK_ERRORS as error:
            return cls(ANSWER if address else CONNECTION, plain(reason_of(error)), address)
        finally:
            connection.close()
        return cls._read(address, response.status, _ahead(response.headers.get("Date")), body)

    @classmethod
    def _read(cls, address: str, status: int, ahead_s: float | None, body: bytes) -> Probe:
        try:
            answer = read_json(body, most_bytes=MAX_BODY_BYTES)
            if status == 200 and answer["status"] == "ok" and isinstance(answer["version"], str):
                return cls(WELL, "", address, plain(answer["version"]), ahead_s)
            return cls(HEALTH, plain(answer["error"]["message"]), address, "", ahead_s)
        except (ValueError, KeyError, TypeError):
            return cls(KIND, f"status {status}, and not the answer of an llmpt tracker", address, "", ahead_s)


def _ahead(date: str | None) -> float | None:
    try:
        return None if date is None else email.utils.parsedate_to_datetime(date).timestamp() - time.time()
    except (ValueError, OverflowError, TypeError):
        return None
