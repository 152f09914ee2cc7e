"""The page of threats and the tests that carry the attacks out say the same."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "threats.md"
HOSTILE = ROOT / "tests" / "hostile"
ATTACKERS = ("machine", "sharer", "publisher", "peer", "tracker", "user", "page", "disk")
COLUMNS = 3

SPAN = re.compile(r"`([^`\n]+)`")


def rows() -> dict[str, list[list[str]]]:
    """Return the lines of each attacker's table, as cells."""
    found: dict[str, list[list[str]]] = {}
    attacker = ""
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            attacker = line[3:]
            found[attacker] = []
        elif line.startswith("| ") and attacker and not line.startswith("| tries |"):
            found[attacker].append([cell.strip() for cell in line.strip("| ").split(" | ")])
    return found


def attacks() -> set[str]:
    """Return `test_machine.py::test_claim` for each test of an attack; those of what they are built with are not meant."""
    found = set()
    for file in HOSTILE.glob("test_*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                found.add(f"{file.name}::{node.name}")
    return found


def test_there_is_a_section_for_each_attacker() -> None:
    assert tuple(rows()) == ATTACKERS


@pytest.mark.parametrize("attacker", ATTACKERS)
def test_every_line_says_how_it_ends_and_which_test_holds_it(attacker: str) -> None:
    for cells in rows()[attacker]:
        assert len(cells) == COLUMNS, cells
        assert SPAN.findall(cells[-1]), cells


def test_every_test_that_is_named_exists_and_every_attack_has_a_line() -> None:
    named = {span for lines in rows().values() for cells in lines for span in SPAN.findall(cells[-1])}
    assert named == attacks()


def test_a_file_of_attacks_is_called_after_its_attacker() -> None:
    for file in HOSTILE.glob("test_*.py"):
        assert file.stem.split("_")[1] in ATTACKERS, file.name
