"""The addresses of hosts, looked up within a deadline and remembered.

The C library knows no deadline: a name server that swallows questions costs it 5 s for each server, attempt and domain of the
search list. So each look-up has a thread of its own, which all that ask for the name wait for, each as long as it can. What it
finds too late is there for the next question. What was found once counts for as long as nothing better is known: a name server
that is out of action does not put a known host out of action, too.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from llmpt.net.within import CallBeside

FRESH_S = 60.0
MAX_HOSTS = 100

LookUp = Callable[..., "list[tuple[Any, ...]]"]


@dataclass(frozen=True, slots=True)
class Place:
    """Where to connect to. family: of the socket; address: as the socket module takes it"""

    family: int
    address: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class _Known:
    """places: of one host and port; until: when they are looked up anew (monotonic seconds); doubted: none of them answered"""

    places: tuple[Place, ...]
    until: float
    doubted: bool = False


class Names:
    """What one process knows. Without a lock, and safe to share among threads and after a fork: each entry is one value."""

    def __init__(
        self,
        *,
        look_up: LookUp = socket.getaddrinfo,
        fresh_s: float = FRESH_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`look_up` is as `socket.getaddrinfo`; what it found is asked for anew after `fresh_s`."""
        self._look_up, self._fresh_s, self._clock = look_up, fresh_s, clock
        self._known: dict[tuple[str, int], _Known] = {}
        self._under_way: dict[tuple[str, int], tuple[int, CallBeside[tuple[Place, ...]]]] = {}

    def places(self, host: str, port: int, *, wait_s: float) -> tuple[Place, ...]:
        """Return where to connect to, at least one place; waits for a look-up no longer than `wait_s`.

        Raises `OSError` (`TimeoutError` among them) when nothing is known of the host by then.
        """
        if (literal := _literal(host, port)) is not None:
            return literal
        known = self._known.get((host, port))
        if known is not None and self._clock() < known.until:
            return known.places
        if known is not None:  # when it has only grown old, what is found now is for the next question
            wait_s = wait_s / 2 if known.doubted else 0.0
        try:
            return self._looked_up(host, port).result(wait_s)
        except OSError:
            if known is None:
                raise
            return known.places

    def known(self, host: str, port: int) -> tuple[Place, ...]:
        """Return where to connect to as far as that needs no look-up; nothing when it does."""
        known = self._known.get((host, port))
        return _literal(host, port) or (known.places if known is not None else ())

    def reached(self, host: str, port: int, place: Place) -> None:
        """Note that this place answers: it is tried first from now on."""
        known = self._known.get((host, port))
        if known is not None and (known.doubted or known.places[0] != place):
            rest = tuple(one for one in known.places if one != place)
            self._known[host, port] = _Known((place, *rest), known.until)

    def doubt(self, host: str, port: int) -> None:
        """Note that no place of this host answers: perhaps it has moved."""
        known = self._known.get((host, port))
        if known is not None:
            self._known[host, port] = _Known(known.places, self._clock(), doubted=True)

    def _looked_up(self, host: str, port: int) -> CallBeside[tuple[Place, ...]]:
        """Return the look-up that is under way, or begin one. A fork has left its parent's threads behind."""
        key = (host, port)
        begun = self._under_way.get(key)
        if begun is not None and begun[0] == os.getpid() and not begun[1].is_over:
            return begun[1]
        call = CallBeside(lambda: self._found(host, port), name="name-look-up")
        self._under_way[key] = (os.getpid(), call)
        return call

    def _found(self, host: str, port: int) -> tuple[Place, ...]:
        try:
            rows = self._look_up(host, port, type=socket.SOCK_STREAM)
        except UnicodeError as error:
            raise OSError(f"no name of a host: {error}") from None
        places = tuple(dict.fromkeys(Place(row[0], row[4]) for row in rows))
        if not places:
            raise OSError("the name has no address")
        while len(self._known) >= MAX_HOSTS and (host, port) not in self._known:
            self._known.pop(next(iter(self._known), (host, port)), None)
        before = self._known.get((host, port))
        if before is not None and not before.doubted and before.places[0] in places:
            places = (before.places[0], *(one for one in places if one != before.places[0]))
        self._known[host, port] = _Known(places, self._clock() + self._fresh_s)
        self._under_way.pop((host, port), None)
        return places


def _literal(host: str, port: int) -> tuple[Place, ...] | None:
    """Return the place of an address; None for a name."""
    if not host.replace(".", "").isdigit() and ":" not in host:
        return None
    try:
        rows = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):
        return None
    return tuple(Place(row[0], row[4]) for row in rows) or None


NAMES = Names()
