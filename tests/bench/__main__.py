"""Run every benchmark, or those that are named: `python -m tests.bench [announce …]`.

A benchmark is a module of this folder with a function `main()` that prints ratios against a reference of the same run.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys

import tests.bench


def main(names: list[str]) -> None:
    found = sorted(module.name for module in pkgutil.iter_modules(tests.bench.__path__) if not module.name.startswith("_"))
    if unknown := set(names) - set(found):
        sys.exit(f"no such benchmark: {', '.join(sorted(unknown))}; there are {', '.join(found)}")
    for name in names or found:
        run = getattr(importlib.import_module(f"tests.bench.{name}"), "main", None)
        if run is not None:
            print(f"== {name}", flush=True)
            run()


if __name__ == "__main__":
    main(sys.argv[1:])
