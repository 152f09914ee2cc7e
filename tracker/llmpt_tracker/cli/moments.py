"""Moments as people write them: `90d`, `12h`, `2027-01-31`, `2027-01-31T12:00`; in UTC."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    _Type = click.ParamType[Any]
else:
    _Type = click.ParamType

_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_MOST = 100 * 366 * 24 * 60  # minutes


class SpanType(_Type):
    """A length of time: a number with m, h, d or w behind it."""

    name = "time"

    def convert(self, value: str | timedelta, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """Read it; fail with a sentence."""
        if isinstance(value, timedelta):
            return value
        if not (match := re.fullmatch(r"([0-9]{1,9})([mhdw])", value)):
            self.fail(f"{value!r} is no time such as 90d, 12h or 30m", param, ctx)
        span_minutes = int(match[1]) * timedelta(**{_UNITS[match[2]]: 1}) / timedelta(minutes=1)
        if span_minutes > _MOST:
            self.fail(f"{value!r} is more than a hundred years", param, ctx)
        return timedelta(minutes=span_minutes)


class MomentType(_Type):
    """A date, a date with a time, or a length of time from now: backwards or forwards."""

    name = "moment"

    def __init__(self, *, ago: bool = False) -> None:
        self._sign = -1 if ago else 1

    def convert(self, value: str | datetime, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Read it; fail with a sentence."""
        if isinstance(value, datetime):
            return value
        if re.fullmatch(r"[0-9]+[mhdw]", value):
            return datetime.now(timezone.utc) + self._sign * SpanType().convert(value, param, ctx)
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is neither a date such as 2027-01-31, nor a time such as 90d or 12h", param, ctx)
        return moment if moment.tzinfo is not None else moment.replace(tzinfo=timezone.utc)
