"""The targets of the fuzz share its time: there are as many as it counts with."""

from __future__ import annotations

import ast
from pathlib import Path

from tests.fuzz.mutation import SECONDS, TARGETS, Fuzz

FOLDER = Path(__file__).parents[1] / "fuzz"


def test_there_are_as_many_targets_as_share_the_time() -> None:
    found = [
        node.name
        for file in FOLDER.glob("test_*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    ]
    assert len(found) == TARGETS, found
    assert SECONDS > 0


def test_the_same_seed_makes_the_same_rubbish() -> None:
    one, two, other = Fuzz("a"), Fuzz("a"), Fuzz("b")
    right = [b"GET / HTTP/1.1\r\nHost: x"]
    made = [[fuzz.bytes(right) for _ in range(20)] for fuzz in (one, two, other)]
    assert made[0] == made[1] != made[2]
