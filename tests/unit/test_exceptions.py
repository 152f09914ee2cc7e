"""Each package draws its exceptions as one tree, and the drawing is true."""

from __future__ import annotations

import ast
import builtins
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = {  # package: (its folder, the module that draws the tree)
    "llmpt": ("client/llmpt", "llmpt.core.errors"),
    "llmpt_tracker": ("tracker/llmpt_tracker", "llmpt_tracker.errors"),
    "llmpt_seeder": ("seeder/llmpt_seeder", "llmpt_seeder.errors"),
}
_DRAWN = re.compile(r"^    (?P<branches>[│├└─ ]*)(?P<name>[A-Za-z_][\w.]*)")


def drawn(module: str) -> dict[str, str | None]:
    """Return the parents that the drawing in a module's docstring gives, by name; the root has none."""
    parents: dict[str, str | None] = {}
    way: list[str] = []
    text = importlib.import_module(module).__doc__ or ""
    for line in text.partition("::\n")[2].splitlines():
        if match := _DRAWN.match(line):
            depth, name = len(match["branches"]) // 4, match["name"]
            assert depth <= len(way), f"{module}: {name} hangs from nothing"
            assert name not in parents, f"{module}: {name} is drawn twice"
            del way[depth:]
            parents[name] = way[-1] if way else None
            way.append(name)
    return parents


def classes(folder: str) -> Iterator[tuple[Path, ast.ClassDef]]:
    for path in sorted((ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                yield path.relative_to(ROOT), node


def bases(node: ast.ClassDef) -> list[str]:
    return [ast.unparse(base).rpartition(".")[2] for base in node.bases]


def is_foreign_exception(name: str) -> bool:
    found = getattr(builtins, name, None)
    return isinstance(found, type) and issubclass(found, BaseException)


def exceptions(folder: str, known: set[str]) -> dict[str, tuple[Path, list[str]]]:
    """Return the exception classes of a folder: where each is, and its bases. `known` are exceptions from elsewhere."""
    found: dict[str, tuple[Path, list[str]]] = {}
    everything = [(path, node.name, bases(node)) for path, node in classes(folder)]
    grown = True
    while grown:
        grown = False
        for path, name, parents in everything:
            if name not in found and any(
                parent in found or parent in known or is_foreign_exception(parent) or parent in FOREIGN for parent in parents
            ):
                found[name] = path, parents
                grown = True
    return found


# Exceptions of libraries that ours derive from.
FOREIGN = {"ClickException", "UsageError", "HTTPException"}


@pytest.fixture(params=PACKAGES)
def package(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_every_exception_of_the_package_stands_in_its_tree(package: str) -> None:
    folder, module = PACKAGES[package]
    tree = drawn(module)
    assert tree, f"{module} draws no tree"
    missing = [f"{path}: {name}" for name, (path, _) in exceptions(folder, set(tree)).items() if name not in tree]
    assert missing == []


def test_the_tree_is_drawn_as_the_classes_inherit(package: str) -> None:
    folder, module = PACKAGES[package]
    tree, found = drawn(module), exceptions(folder, set(drawn(module)))
    others = drawn("llmpt.core.errors")
    for name, parent in tree.items():
        if name not in found:
            assert name in others, f"{module} draws {name}, which is not there"
            assert parent is None or parent == others[name], f"{module}: {name} is no child of {parent}"
        elif parent is not None:
            assert parent in found[name][1], f"{module}: {name} is no child of {parent}, but of {found[name][1]}"
        else:
            assert set(found[name][1]) == {"Exception"}, f"{module}: {name} is a root of its own"


def test_a_tree_has_the_root_of_all_and_apart_from_it_only_what_is_no_message(package: str) -> None:
    root, *others = [name for name, parent in drawn(PACKAGES[package][1]).items() if parent is None]
    assert root == "LlmptError"
    text = importlib.import_module(PACKAGES[package][1]).__doc__ or ""
    for name in others:
        assert re.search(rf"^    {name} .*\(no message\)$", text, re.MULTILINE), name
