"""The token to read with, which is sent to no tracker that has not asked for one."""

from __future__ import annotations

from collections.abc import Callable


def no_token() -> str:
    """Have none."""
    return ""


class ReadToken:
    """What one tracker wants of those that read. `find` finds the token, if there is one. Threads may share it."""

    def __init__(self, find: Callable[[], str] = no_token) -> None:
        self._find = find
        self._is_asked = False

    @property
    def token(self) -> str:
        """The token as it is now; empty: there is none, or the tracker has not asked."""
        return self._find() if self._is_asked else ""

    def header(self) -> dict[str, str]:
        """Return the header with it; nothing while the tracker has not asked."""
        token = self.token
        return {"Authorization": f"Bearer {token}"} if token else {}

    def was_asked(self, status: int, sent: bool) -> bool:
        """Note an answer; say whether the question is worth another try, with the token that there is."""
        if status != 401 or sent or not self._find():
            return False
        self._is_asked = True
        return True
