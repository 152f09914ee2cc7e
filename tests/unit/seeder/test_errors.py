"""The tree of the seeder's exceptions is whole, and drawn."""

from __future__ import annotations

import importlib
import inspect
import pkgutil

import llmpt_seeder
from llmpt.core.errors import LlmptError
from llmpt_seeder import errors


def test_every_exception_of_the_package_stands_in_its_tree() -> None:
    found = {}
    for module in pkgutil.walk_packages(llmpt_seeder.__path__, "llmpt_seeder."):
        if module.name != "llmpt_seeder.__main__":
            for _, kind in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
                if issubclass(kind, BaseException) and kind.__module__.startswith("llmpt_seeder."):
                    found[kind.__name__] = kind
    assert {name: kind.__module__ for name, kind in found.items()} == dict.fromkeys(found, errors.__name__)
    assert all(issubclass(kind, LlmptError) for kind in found.values())
    drawn = {line.split()[1] for line in (errors.__doc__ or "").splitlines() if line.strip().startswith(("├──", "└──"))}
    assert drawn == set(found)
