"""What the folders promise: names that mean one thing, modules that are read at one sitting, rooms that need nothing."""

from __future__ import annotations

import ast
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = {"llmpt": "client/llmpt", "llmpt_tracker": "tracker/llmpt_tracker", "llmpt_seeder": "seeder/llmpt_seeder"}
MODULES = sorted(path.relative_to(ROOT) for folder in PACKAGES.values() for path in (ROOT / folder).rglob("*.py"))

MAX_LINES = 300
STDLIB_ONLY = ("_boot", "core", "hook", "link", "patch")  # what runs in a program of the user's; huggingface_hub is there


def tree(module: Path) -> ast.Module:
    return ast.parse((ROOT / module).read_text())


@pytest.fixture(params=PACKAGES)
def package(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_a_package_has_no_two_classes_of_one_name(package: str) -> None:
    places = defaultdict(list)
    for module in MODULES:
        if module.is_relative_to(PACKAGES[package]):
            for node in ast.walk(tree(module)):
                if isinstance(node, ast.ClassDef):
                    places[node.name].append(str(module))
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_no_link_in_a_circle_and_no_home_of_nobody_is_taken_for_a_bug(module: Path) -> None:
    calls = {
        node.func.attr for node in ast.walk(tree(module)) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    }
    allowed = {"expanduser"} if module.name in ("files.py", "settings.py", "authorities.py") else set()
    assert calls & {"resolve", "expanduser"} <= allowed, "pathlib raises RuntimeError there: see llmpt.core.files"


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_no_module_has_three_hundred_lines(module: Path) -> None:
    assert len((ROOT / module).read_text().splitlines()) < MAX_LINES


def imported(module: Path) -> Iterator[str]:
    """Yield the top names of what a module imports, wherever in it."""
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield (node.module or "").partition(".")[0]


@pytest.mark.parametrize("room", STDLIB_ONLY)
def test_what_runs_in_the_users_program_imports_the_standard_library_alone(room: str) -> None:
    folder = ROOT / PACKAGES["llmpt"] / room
    found = [folder.with_suffix(".py")] if folder.with_suffix(".py").exists() else sorted(folder.rglob("*.py"))
    assert found
    foreign = {name for path in found for name in imported(path.relative_to(ROOT))} - sys.stdlib_module_names - {"llmpt"}
    assert foreign <= {"huggingface_hub", "tqdm"}, room
