"""How much clients may ask of upstream: names can be made up without end, and each costs the Hub some questions.

A bucket for each address, one for its neighbourhood (of IPv6 the /64, in which a machine can have any number of addresses),
and one for all. The first two are so much smaller that no machine can empty the last one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from llmpt.core.networks import neighbourhood, parse_address
from llmpt_tracker.control.client import Announcer


@dataclass(frozen=True, slots=True)
class Allowance:
    """So many listings may be asked for in a second, in the long run, and so many at once."""

    per_s: float
    burst: int


@dataclass(frozen=True, slots=True)
class Allowances:
    """What an address, a neighbourhood of more than one, and all together may ask for."""

    address: Allowance = Allowance(0.5, 60)
    neighbourhood: Allowance = Allowance(2, 180)
    together: Allowance = Allowance(4, 360)


class Questions:
    """Counts the listings that are asked for, in the announcer: the application is several processes."""

    def __init__(
        self,
        announcer: Announcer,
        *,
        allowances: Allowances = Allowances(),
        on_spent: Callable[[], None] = lambda: None,
    ) -> None:
        self._announcer, self._allowances, self._on_spent = announcer, allowances, on_spent

    def wait_s(self, address: str) -> float:
        """Count one question of `address`; return 0, or in how many seconds it may be asked. Raises `AnnouncerUnavailable`."""
        its, net, limits = str(parse_address(address)), neighbourhood(parse_address(address)), self._allowances
        buckets = [(its, limits.address)]
        if net != its:
            buckets.append((net, limits.neighbourhood))
        for who, one in (*buckets, ("together", limits.together)):
            wait_s = self._announcer.take(f"upstream {who}", per_s=one.per_s, burst=one.burst)
            if wait_s > 0:
                self._on_spent()
                return wait_s
        return 0.0
