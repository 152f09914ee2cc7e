"""What time it is."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """Return this moment, aware and in UTC."""
    return datetime.now(timezone.utc)
