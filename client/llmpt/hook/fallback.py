"""The rest of a file from the Hub, when the LAN has given a part of it: only what is missing, by Range requests.

The library's own `http_get` makes the requests, so its session, headers, proxies, time-outs, redirects and its waiting
after a 429 hold, in every version. It is given one stretch at a time, and a window of our file to write into; trying again
is done here, because in the older versions it would go on at another place than we are.
"""

from __future__ import annotations

import inspect
import logging
import os
import time
from collections.abc import Callable, Iterable

from llmpt.core.errors import Abandoned, LlmptError
from llmpt.hook.library import Asked
from llmpt.link.answers import Ranges

log = logging.getLogger("llmpt")

# Fetching a little twice costs less than one more request.
SMALL_ISLAND = 1 / 512  # of the file, all of them together
MOST_REQUESTS = 32
FRUITLESS_TRIES = 3
PAUSE_S = 1.0  # before the Hub is asked again, as the library waits

_NEEDED = {"url", "temp_file", "resume_size", "headers", "expected_size", "_nb_retries", "_tqdm_bar"}


class NotInParts(LlmptError):
    """The rest cannot be had this way: the library has to download the file in its own."""


class DiskFull(NotInParts):
    """Nothing could be written."""


def missing(have: Ranges, size: int) -> Ranges:
    """Return the stretches of a file of `size` bytes to fetch when `have` is there: few, at the price of fetching some twice.

    Where there would be more than `MOST_REQUESTS`, the smallest islands between them are fetched, too.
    """
    small = size * SMALL_ISLAND / max(len(have), 1)
    islands = [one for one in have if one[0] > 0 and one[1] < size and one[1] - one[0] > small]
    islands = sorted(islands, key=lambda one: one[1] - one[0], reverse=True)[: MOST_REQUESTS - 1]
    shores = [one for one in have if one[0] == 0 or one[1] == size]
    gaps: list[tuple[int, int]] = []
    end = 0
    for start, stop in (*sorted({*islands, *shores}), (size, size)):
        if start > end:
            gaps.append((end, start))
        end = stop
    return tuple(gaps)


def why_not(asked: Asked, size: int) -> str | None:
    """Say why the library must download this file in its own way; None when the rest can be fetched in parts."""
    library = asked.library
    constants = getattr(library, "constants", library)
    xet_usable = getattr(library, "is_xet_available", lambda: False)
    if asked.arguments.get("xet_file_data") is not None and xet_usable():
        return "it comes through Xet"
    if size > getattr(constants, "MAX_HTTP_DOWNLOAD_SIZE", 50_000_000_000):
        return "it is too large for plain HTTP"
    if getattr(constants, "HF_HUB_ENABLE_HF_TRANSFER", False):
        return "it comes through hf_transfer"
    if not inspect.signature(library.http_get).parameters.keys() >= _NEEDED:
        return "this version of huggingface_hub is not known"
    return None


def fetch(
    asked: Asked,
    descriptor: int,
    gaps: Iterable[tuple[int, int]],
    *,
    on_bytes: Callable[[int], None],
    pause_s: float = PAUSE_S,
) -> None:
    """Write the stretches `gaps` of the file into the open `descriptor`; `on_bytes` is told of every few that came.

    Raises `NotInParts` when the Hub, the network or the disk has it otherwise; what came is in the file all the same.
    """
    for start, stop in gaps:
        window = _Window(descriptor, start, stop, on_bytes)
        fruitless = 0
        while window.at < window.stop:
            before = window.at
            try:
                _get(asked, window)
            except Abandoned:
                raise
            except Exception as error:  # noqa: BLE001 - requests', httpx's, httpx2's, the library's: not for us to know which
                if window.broken is not None:
                    raise window.broken from None
                status = getattr(getattr(error, "response", None), "status_code", None)
                fruitless = 0 if window.at > before else fruitless + 1
                if (status is not None and status >= 400) or fruitless >= FRUITLESS_TRIES:
                    raise NotInParts(f"the Hub: {error}") from None
                log.debug("asked again for the rest after %s", error)
                time.sleep(pause_s)
            else:
                if window.at == before:
                    raise NotInParts("the Hub gave nothing")


def _get(asked: Asked, window: _Window) -> None:
    arguments = asked.arguments
    proxies = {"proxies": arguments["proxies"]} if "proxies" in arguments else {}  # before 1.0
    window.begin()
    asked.library.http_get(
        arguments["url_to_download"],
        window,
        headers={**(arguments["headers"] or {}), "Range": f"bytes={window.at}-{window.stop - 1}", "Accept-Encoding": "identity"},
        expected_size=window.stop - window.at,
        _nb_retries=0,
        _tqdm_bar=_Silent(),
        **proxies,
    )


class _Window:
    """What the library takes for an empty file: the bytes [at, stop) of ours. `broken` says why it takes no more."""

    def __init__(self, descriptor: int, start: int, stop: int, on_bytes: Callable[[int], None]) -> None:
        self._descriptor, self._on_bytes = descriptor, on_bytes
        self.at, self.stop = start, stop
        self._from = start
        self.broken: NotInParts | None = None

    def begin(self) -> None:
        self._from = self.at

    def write(self, data: bytes) -> int:
        if self.at + len(data) > self.stop:
            self.broken = NotInParts("the Hub does not give parts of it")
            raise self.broken
        try:
            rest = memoryview(data)
            while rest:
                written = os.pwrite(self._descriptor, rest, self.at)
                self.at += written
                rest = rest[written:]
        except OSError as error:
            self.broken = DiskFull(f"the disk: {error.strerror}")
            raise self.broken from None
        self._on_bytes(len(data))
        return len(data)

    def tell(self) -> int:
        return self.at - self._from


class _Silent:
    """What the library takes for a bar: ours counts what is written."""

    def update(self, _n: float = 1) -> None:
        pass

    def close(self) -> None:
        pass
