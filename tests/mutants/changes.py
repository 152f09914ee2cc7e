"""The small changes that can be made to a module: at each place one of each kind, those that change nothing left out."""

from __future__ import annotations

import ast
import random
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import unified_diff

from cosmic_ray import plugins
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code

# Identity instead of equality, and the other way round: small numbers, strings of the source and None are the same either way.
_THE_SAME = ("_Is", "_IsNot", "Is_Eq", "IsNot_NotEq")
# What only a type checker runs, and what a class costs or allows beside what it does.
_NO_MATTER = re.compile(r"TYPE_CHECKING|^@dataclass\(frozen=True, slots=True\)")
_NEEDS_ARGUMENTS = ("core/VariableReplacer", "core/VariableInserter")


@dataclass(frozen=True)
class Change:
    """A changed `code` of a module; `line` is where, `diff` says how in lines of `-` and `+`."""

    line: int
    kind: str
    code: str
    diff: str


def changes(source: str, chance: random.Random) -> Iterator[Change]:
    """Yield one change of each kind for each place of a module's `source`; `chance` chooses among the operators."""
    places = defaultdict(list)
    nodes = list(ast_nodes(get_ast(source)))
    for name in plugins.operator_names():
        if name in _NEEDS_ARGUMENTS or name.endswith(_THE_SAME):
            continue
        operator = plugins.get_operator(name)()
        found = [place for node in nodes for place in operator.mutation_positions(node)]
        for occurrence, place in enumerate(found):
            places[place, name.partition("_")[0]].append((name, occurrence))
    unchanged, lines = _meaning(source), source.splitlines()
    for (place, kind), choices in sorted(places.items()):
        name, occurrence = chance.choice(choices)
        code = mutate_code(source, plugins.get_operator(name)(), occurrence)
        line = lines[place[0][0] - 1]
        if code is not None and not _NO_MATTER.search(line) and _meaning(code) != unchanged:
            yield Change(place[0][0], kind.rpartition("/")[2], code, _diff(source, code))


class _WithoutTypes(ast.NodeTransformer):
    """Drops annotations: nobody evaluates them."""

    def visit_arg(self, node: ast.arg) -> ast.arg:
        node.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        self.generic_visit(node)
        node.annotation = ast.Constant(None)
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        self.generic_visit(node)
        node.returns = None
        return node

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        self.generic_visit(node)
        node.returns = None
        return node


def _meaning(code: str) -> str | None:
    """Return what decides how the code runs; None: it is not Python."""
    try:
        return ast.dump(_WithoutTypes().visit(ast.parse(code)))
    except SyntaxError:
        return None


def _diff(source: str, code: str) -> str:
    lines = list(unified_diff(source.splitlines(), code.splitlines(), lineterm="", n=0))[2:]
    return "\n".join(f"    {line[0]} {line[1:].strip()}" for line in lines if line[0] in "+-")
