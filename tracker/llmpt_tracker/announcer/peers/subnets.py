"""Which peers are near an asker, on a site of several subnets (LLMPT_SUBNETS): those of its own. Between subnets a link may be
narrow, or many share it."""

from __future__ import annotations

import random
from functools import lru_cache

from llmpt.core.networks import CidrSet
from llmpt_tracker.announcer.peers.wire import Endpoint, split

LOOKED_AT = 2000  # peers of a role among which those of the asker's subnet are looked for: takes a millisecond


class Subnets:
    """The subnets of a site; of those that contain an address the smallest counts. Without any, all peers are equally near."""

    def __init__(self, networks: CidrSet = CidrSet()) -> None:
        self._masks = sorted(
            ((len(one.network_address.packed), int(one.netmask), int(one.network_address)) for one in networks.networks),
            key=lambda mask: -mask[1],
        )
        self._of = lru_cache(maxsize=1 << 14)(self._find)

    def __bool__(self) -> bool:
        return bool(self._masks)

    def near_first(self, peers: bytes, width: int, asker: bytes) -> list[Endpoint]:
        """Return compact endpoints of `width` bytes at random, those of the asker's subnet first."""
        found = list(split(peers, width))
        random.shuffle(found)
        home = self._of(asker)
        return found if home is None else sorted(found, key=lambda endpoint: self._of(endpoint[:-2]) != home)

    def _find(self, packed: bytes) -> tuple[int, int, int] | None:
        number = int.from_bytes(packed, "big")
        return next((one for one in self._masks if one[0] == len(packed) and number & one[1] == one[2]), None)
