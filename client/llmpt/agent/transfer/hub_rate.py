"""How fast the Hub is for this machine: remembered across programs and restarts, measured where it must be known."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from llmpt.agent.transfer.sight import Measuring
from llmpt.core.errors import LlmptError
from llmpt.disk.inventory import Inventory
from llmpt.hub.asking import HubUnreachable
from llmpt.hub.measuring import rate_of
from llmpt.link.requests import FetchRequest

log = logging.getLogger("llmpt.agent")

MEASURED_BYTES = 1 << 20  # smaller files say more about round trips than about rates
KEPT_S = 14 * 86400.0  # a machine may have moved to another line since
AGAIN_S = 600.0  # after measuring in vain

_TABLE = """
CREATE TABLE IF NOT EXISTS hub_rate (id INTEGER PRIMARY KEY CHECK (id = 1), bytes_s INTEGER NOT NULL, noted_at REAL NOT NULL)
"""


def measure_rate(request: FetchRequest) -> int:
    """Measure the Hub by the file that is wanted; return bytes per second. Raises `HubUnreachable`."""
    if (
        request.repo is None
        or request.filename is None
        or not request.endpoint
        or request.endpoint.rstrip("/") == request.tracker
    ):
        raise HubUnreachable("no Hub is known that has it")
    return rate_of(request.endpoint.rstrip("/") + request.repo.file_route(request.revision, str(request.filename)))


class HubRate:
    """What is known of it. `bytes_s` is 0 when that is nothing. Safe to share among threads."""

    def __init__(
        self,
        inventory: Inventory | None = None,
        *,
        measure: Callable[[FetchRequest], int] = measure_rate,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`inventory` keeps it, `measure` returns bytes per second or raises `LlmptError`; `clock` returns Unix time."""
        self._inventory, self._measure, self._clock = inventory, measure, clock
        self._lock = threading.Lock()
        self._is_measuring = False
        self._in_vain_at: float | None = None
        self._heard = 0
        self.bytes_s = self._kept()

    def note(self, size_bytes: int, seconds: float) -> None:
        """A library has fetched so many bytes from the Hub in so many seconds."""
        if size_bytes >= MEASURED_BYTES:
            self._keep(int(size_bytes / max(seconds, 0.001)))

    def heard(self, bytes_s: int) -> None:
        """A program has measured that rate; 0: it has not. It says the same with each file, until it has measured anew."""
        if bytes_s not in (0, self._heard):
            self._heard = bytes_s
            self._keep(bytes_s)

    @property
    def measuring(self) -> Measuring:
        """What has become of measuring it."""
        if self._is_measuring:
            return Measuring.UNDER_WAY
        is_in_vain = self._in_vain_at is not None and 0 <= self._clock() - self._in_vain_at < AGAIN_S
        return Measuring.IN_VAIN if is_in_vain else Measuring.UNTRIED

    def measure(self, request: FetchRequest) -> None:
        """Measure it by fetching a part of what `request` wants, on a thread of its own, unless that is under way."""
        with self._lock:
            if self._is_measuring:
                return
            self._is_measuring = True
        threading.Thread(target=self._measure_now, args=(request,), name="measure-hub", daemon=True).start()

    def _measure_now(self, request: FetchRequest) -> None:
        try:
            self._keep(self._measure(request))
            log.info("the Hub is measured: %d bytes per second", self.bytes_s)
        except LlmptError as error:
            self._in_vain_at = self._clock()
            log.info("how fast the Hub is here could not be measured: %s", error)
        finally:
            self._is_measuring = False

    def _keep(self, bytes_s: int) -> None:
        with self._lock:
            self.bytes_s = (self.bytes_s + bytes_s) // 2 if self.bytes_s else bytes_s
        try:
            if self._inventory is not None:
                with self._inventory.transaction() as sql:
                    sql.execute(_TABLE)
                    sql.execute("INSERT OR REPLACE INTO hub_rate VALUES (1, ?, ?)", (self.bytes_s, self._clock()))
        except LlmptError as error:
            log.debug("the Hub's rate is not kept: %s", error)

    def _kept(self) -> int:
        if self._inventory is None:
            return 0
        try:
            with self._inventory.transaction() as sql:
                sql.execute(_TABLE)
                bytes_s, noted_at = sql.execute("SELECT bytes_s, noted_at FROM hub_rate").fetchone() or (0, 0.0)
        except LlmptError:
            return 0
        return int(bytes_s) if 0 <= self._clock() - noted_at < KEPT_S else 0
