"""How fast does the Hub send? A part of a file is fetched, without a token, and thrown away."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from urllib.parse import urlsplit

from llmpt.hub.asking import BROKEN, HEAD_S, HubUnreachable
from llmpt.net.within import within

PART_BYTES = 8 << 20
PART_S = 4.0
SILENCE_S = 5.0


def rate_of(url: str, *, part_bytes: int = PART_BYTES, part_s: float = PART_S) -> int:
    """Fetch `part_bytes` of what is at `url`, for `part_s` seconds at most; return bytes per second. Raises `HubUnreachable`."""
    if urlsplit(url).scheme not in ("http", "https"):
        raise HubUnreachable(f"{url}: not the address of a Hub")
    try:
        request = urllib.request.Request(url, headers={"User-Agent": "llmpt", "Range": f"bytes=0-{part_bytes - 1}"})  # noqa: S310
        with within(HEAD_S, lambda: urllib.request.urlopen(request, timeout=SILENCE_S), name="measure-hub") as response:  # noqa: S310
            came, began = 0, time.monotonic()
            while came < part_bytes and time.monotonic() - began < part_s and (part := response.read1(1 << 16)):
                came += len(part)
            return int(came / max(time.monotonic() - began, 0.001))
    except urllib.error.HTTPError as error:
        with error:
            raise HubUnreachable(f"{url} answered {error.code}") from None
    except BROKEN as error:
        raise HubUnreachable(f"{url}: {error}") from None
