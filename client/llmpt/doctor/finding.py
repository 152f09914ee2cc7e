"""What a check found."""

from __future__ import annotations

from dataclasses import dataclass

OK, WARN, FAIL, SKIP = "ok", "warn", "fail", "skip"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found.

    `outcome`: ok; warn (works, less well than it could); fail; skip (could not be looked at).
    `message`: what was seen; of a skip, why it was not looked at.
    `remedy`: what to do about a warning or a failure.
    """

    outcome: str
    message: str
    remedy: str = ""


def ok(message: str) -> Finding:
    return Finding(OK, message)


def warn(message: str, remedy: str) -> Finding:
    return Finding(WARN, message, remedy)


def fail(message: str, remedy: str) -> Finding:
    return Finding(FAIL, message, remedy)


def skip(message: str) -> Finding:
    return Finding(SKIP, message)
