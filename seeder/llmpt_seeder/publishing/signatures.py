"""Which addresses of blobs count: those that the tracker has signed, where it says that reading takes a token."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from llmpt.core.signed_address import is_signed

_FACT = "blob_key"


class Facts(Protocol):
    """As much of a `SeederState` as is needed."""

    def fact(self, name: str) -> str | None: ...

    def keep_fact(self, name: str, value: str) -> bool: ...


class Signatures:
    """Checks addresses with the key that the last heartbeat brought, of this life or the one before. Used by many threads."""

    def __init__(self, facts: Facts, *, clock: Callable[[], float] = time.time) -> None:
        self._facts, self._clock = facts, clock
        self._key = facts.fact(_FACT) or ""

    def learn(self, key: str) -> None:
        """Take in what a heartbeat said; empty: every machine may have the blobs."""
        if key != self._key:
            self._key = key
            self._facts.keep_fact(_FACT, key)

    def may_get(self, path: str, looks: bool = False) -> bool:
        """Say whether the blob at this path may be had; `looks`: or be asked for by HEAD."""
        return not self._key or is_signed(self._key, path, now=self._clock(), looks=looks)
