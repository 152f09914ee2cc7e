"""What clients may do: how long each may take, how much memory all of them, how many connections there may be."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class TimeLimits:
    """How long a client may take, in seconds.

    handshake_s: for the handshake of TLS
    head_s: for the head of a request; for its first byte, too, on a new connection
    idle_s: between two requests
    body_step_s: within so long at least `body_step_bytes` of a body come, or all that is left
    send_step_s: within so long at least `send_step_bytes` of an answer go, or all that is left
    place_s: for a place for a large body
    turn_s: for its turn to be answered: no client of ours waits so long
    linger_s: for closing its end after all is said
    """

    handshake_s: float = 10.0
    head_s: float = 10.0
    idle_s: float = 15.0
    body_step_s: float = 10.0
    body_step_bytes: int = 512 << 10
    send_step_s: float = 20.0
    send_step_bytes: int = 64 << 10
    place_s: float = 20.0
    turn_s: float = 65.0
    linger_s: float = 2.0


@dataclass(frozen=True, slots=True)
class Memory:
    """How much of one process's memory requests and answers may take.

    body_bytes: the longest body of all
    small_bytes: a body up to this needs no place
    large_bodies, of_address, of_site: so many larger ones come at once, so many of one machine or /64, so many of one /48
    held_bytes: of all requests that are not whole, and all answers that are on their way
    """

    body_bytes: int = 10 << 20
    small_bytes: int = 256 << 10
    large_bodies: int = 12
    of_address: int = 4
    of_site: int = 8
    held_bytes: int = 192 << 20


@dataclass(frozen=True, slots=True)
class ConnectionBounds:
    """How many connections of one process there may be.

    in_all: at once
    own: so many of these are for the appliance alone
    of_address: of one address
    of_neighbourhood: of one /64 of IPv6
    outside: of all addresses that get no answer but a refusal
    """

    in_all: int = 4096
    own: int = 64
    of_address: int = 3072
    of_neighbourhood: int = 3072
    outside: int = 64

    @classmethod
    def within(cls, connections: int) -> ConnectionBounds:
        """Return the bounds of a process that may have so many connections."""
        own, most = min(64, connections // 8), connections * 3 // 4
        return cls(connections, own, most, most, min(64, connections // 8))


@dataclass(frozen=True, slots=True)
class ServingLimits:
    """What clients may do: time, memory, connections."""

    patience: TimeLimits = field(default_factory=TimeLimits)
    memory: Memory = field(default_factory=Memory)
    bounds: ConnectionBounds = field(default_factory=ConnectionBounds)
