"""A TCP connection to a host, by one of its addresses, with one deadline for name and connection together."""

from __future__ import annotations

import math
import socket
import time

from llmpt.net.names import NAMES, Names, Place


def connect(host: str, port: int, *, wait_s: float, connect_s: float = math.inf, names: Names = NAMES) -> socket.socket:
    """Connect within `wait_s` seconds, whatever the name server and however many addresses there are.

    Each address has an even part of the time that is left, `connect_s` at most. Raises `OSError` (`TimeoutError` among them).
    """
    deadline = time.monotonic() + wait_s
    places = names.places(host, port, wait_s=wait_s)
    error: OSError = TimeoutError("timed out")
    for number, place in enumerate(places):
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            break
        try:
            connection = _connected(place, min(left_s / (len(places) - number), connect_s))
        except OSError as failure:
            error = failure
            continue
        names.reached(host, port, place)
        return connection
    names.doubt(host, port)
    raise error


def _connected(place: Place, wait_s: float) -> socket.socket:
    connection = socket.socket(place.family, socket.SOCK_STREAM)
    try:
        connection.settimeout(wait_s)
        connection.connect(place.address)
    except BaseException:
        connection.close()
        raise
    return connection
