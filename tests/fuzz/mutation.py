"""Rubbish that is nearly right: bytes and documents, changed at random, the same again for the same seed.

LLMPT_FUZZ_SEED    which rubbish (default 1)
LLMPT_FUZZ_SECONDS how long, all targets together (default 60)
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.support.rogue_tracker import changed, places

SEED = os.environ.get("LLMPT_FUZZ_SEED", "1")
SECONDS = float(os.environ.get("LLMPT_FUZZ_SECONDS", "60"))
TARGETS = 26  # a test holds that there are as many
LEAST_ROUNDS = 20
GROWTH_BYTES = 96 << 20  # of a process, over all rounds of a target

TOKENS = (
    b"\0", b"%00", b"%", b"%zz", b"\r\n", b"\n", b"\r\n\r\n", b"../", b"..\\", b"/", b"9" * 20, b"-1", b"0", b"1e999", b"NaN", b"null",
    b"\xff", b"\xed\xa0\x80", b"\xe2\x80\xae", b"\x1b[2J", b"{", b"}", b"[" * 50, b"d" * 50, b"l" * 50, b"i0e", b"0:", b":", b'"', b"\\u0000",
    b"a" * 5000, b"true", b"Infinity", b"\\ud800", b"'", b"--", b";", b"*", b"?", b"&", b"=", b"#", b"bytes=0-", b"chunked",
)  # fmt: skip
JUNK: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 1 << 31, 1 << 53, 1 << 63, 1 << 64, 10**30, -(1 << 63), 0.5, -0.0, 1e308, "", " ", ".", "..", "../x",
    "/etc/passwd", "a/../b", "a\0b", "a\nb", "\x1b[2J", "\u202e", "\ud800", "a" * 300, "a" * 100_000, "/".join(["a"] * 100), "e" * 40,
    "e" * 64, "E" * 64, "main", "refs/pr/1", "x.lock", "127.0.0.1", "::1", "0.0.0.0", "fe80::1%lo", "magnet:?", "http://[", "%00", "*",
    "2026-11-22T00:00:00+00:00", [], {}, [[]], [None], ["a"] * 5000, {"": {}}, {"a": {"b": {"c": []}}}, [[[[[[[[]]]]]]]],
)  # fmt: skip


class Fuzz:
    """One target's share of the time, and its random numbers."""

    def __init__(self, name: str) -> None:
        self.random = random.Random(f"{SEED}:{name}")
        self.rounds = 0
        self.last: object = None

    def __iter__(self) -> Iterator[int]:
        until = time.monotonic() + SECONDS / TARGETS
        while time.monotonic() < until or self.rounds < LEAST_ROUNDS:
            self.rounds += 1
            yield self.rounds

    def bytes(self, right: Sequence[bytes]) -> bytes:
        """Change one of the right ones a little, or a lot."""
        chance = self.random
        data = bytearray(chance.choice(right))
        for _ in range(chance.choice((0, 1, 1, 1, 2, 3, 8))):
            at, deed = chance.randint(0, len(data)), chance.randrange(7)
            if deed == 0 and data:
                data[at % len(data)] = chance.randrange(256)
            elif deed == 1:
                data[at:at] = chance.choice(TOKENS)
            elif deed == 2:
                del data[at : at + chance.choice((1, 2, 8, 100))]
            elif deed == 3:
                data[at:at] = data[at : at + chance.choice((1, 8, 100))] * chance.choice((1, 2, 20))
            elif deed == 4:
                other = chance.choice(right)
                data[at:] = other[chance.randint(0, len(other)) :]
            elif deed == 5:
                data[at:at] = chance.randbytes(chance.choice((1, 4, 40)))
            else:
                del data[at:]
        self.last = bytes(data[: 1 << 20])
        return bytes(data[: 1 << 20])

    def document(self, right: Sequence[Any]) -> Any:
        """Put something else into one field, or a few, of one of the right documents."""
        made = self.random.choice(right)
        for _ in range(self.random.choice((0, 1, 1, 1, 2, 4))):
            where = list(places(made))
            if not where:
                break
            if self.random.random() < 0.03:
                made = self.random.choice(JUNK)
                break
            value = self.random.choice((*JUNK, ...)) if self.random.random() < 0.9 else self.random.choice(right)
            made = changed(made, self.random.choice(where), value)
        self.last = made
        return made

    def text(self, right: Sequence[str]) -> str:
        """Change a text a little."""
        return self.bytes([one.encode() for one in right]).decode("utf-8", "surrogateescape")

    def refuses(self, parse: Callable[[], object], *expected: type[Exception]) -> None:
        """Call `parse`: it may raise what is expected, and nothing else."""
        try:
            parse()
        except expected:
            pass
        except Exception as error:
            raise AssertionError(f"{type(error).__name__}: {error}, of {self.last!r:.2000} (LLMPT_FUZZ_SEED={SEED})") from error


def memory_of(*pids: int) -> int:
    """Return the resident bytes of processes, with their children; 0 where the system does not tell."""
    total, seen = 0, list(pids)
    for pid in seen:
        try:
            total += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")
            for task in Path(f"/proc/{pid}/task").iterdir():
                seen += map(int, (task / "children").read_text().split())
        except OSError:
            continue
    return total
