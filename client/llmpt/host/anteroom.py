"""Connections that have come in and wait to be looked at, those of a machine that has few before those of one that has many.

They are taken from the kernel as fast as they come: a full queue there drops the next client, whose own kernel tries again after
a second, and then after three.
"""

from __future__ import annotations

import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

from llmpt.core.networks import AddressGroups
from llmpt.host.visitors import in_turn

ACCEPTING_S = 0.003  # at one go; then others are looked at again
BEGINNING_S = 0.006
OF_NEIGHBOURHOOD, OF_SITE = 1024, 4096

T = TypeVar("T")


def accepted(listening: socket.socket, *, for_s: float = ACCEPTING_S) -> Iterator[tuple[socket.socket, Any]]:
    """Yield the connections that have come to a listening socket that does not block, and their addresses, for a moment at most.

    Raises `OSError` when no more can be taken.
    """
    until = time.monotonic() + for_s
    while time.monotonic() < until:
        try:
            yield listening.accept()
        except ConnectionAbortedError:
            continue
        except (BlockingIOError, InterruptedError):
            return


class Anteroom(Generic[T]):
    """Those who wait. `origin` says where one comes from; of a neighbourhood and of a site that is not many machines there are
    `of_each` at most. Used by one thread."""

    def __init__(self, origin: Callable[[T], AddressGroups], *, of_each: tuple[int, int] = (OF_NEIGHBOURHOOD, OF_SITE)) -> None:
        self._origin, self._of_each = origin, of_each
        self._waiting: list[T] = []
        self._of: Counter[str] = Counter()  # by neighbourhood and by site

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, one: T, *, is_many: bool = False) -> bool:
        """Have one wait; False: its machine has as many here as may be."""
        groups = self._origin(one)[1:]
        if not is_many and any(self._of[name] >= most for name, most in zip(groups, self._of_each, strict=True)):
            return False
        self._of.update(groups)
        self._waiting.append(one)
        return True

    def let_in(self, begin: Callable[[T], object], *, for_s: float = BEGINNING_S) -> None:
        """Call `begin` with one after the other in their turn, for a moment: with one at least, if there is one."""
        waiting, self._waiting = self._waiting, []
        begun: set[T] = set()
        try:
            for one in in_turn(waiting, self._origin, for_s=for_s):
                begun.add(one)
                begin(one)
        finally:
            self._waiting += [one for one in waiting if one not in begun]
            self._of = Counter(name for one in self._waiting for name in self._origin(one)[1:])

    def clear(self) -> list[T]:
        """Forget those who wait, and return them."""
        waiting, self._waiting = self._waiting, []
        self._of.clear()
        return waiting
