"""Running the tests against a changed module: in a fork of this process, which holds pytest and nothing of llmpt."""

from __future__ import annotations

import importlib.abc
import importlib.util
import math
import os
import resource
import sys
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.machinery import ModuleSpec, SourceFileLoader
from types import CodeType

import hypothesis
import pytest

from tests.mutants.groups import ROOT, Target

OPTIONS = (
    "-x",
    "-q",
    "-p",
    "no:cacheprovider",
    "-p",
    "no:xdist",
    "-W",
    "ignore::SyntaxWarning",
    "-W",
    "ignore::pytest.PytestAssertRewriteWarning",
)


class _Changed(SourceFileLoader):
    def __init__(self, name: str, path: str, code: str) -> None:
        super().__init__(name, path)
        self._code = code

    def get_code(self, fullname: str) -> CodeType:
        return compile(self._code, self.path, "exec", dont_inherit=True)


class _Finder(importlib.abc.MetaPathFinder):
    def __init__(self, target: Target, code: str) -> None:
        self._target, self._code = target, code

    def find_spec(self, fullname: str, path: object, target: object = None) -> ModuleSpec | None:
        if fullname != self._target.module:
            return None
        file = str(ROOT / self._target.path)
        return importlib.util.spec_from_file_location(fullname, file, loader=_Changed(fullname, file, self._code))


@dataclass(frozen=True)
class Run:
    """The tests of `target`, against its changed `code` (None: as it is), for `limit_s` of processor time at most."""

    target: Target
    code: str | None
    limit_s: float


@dataclass(frozen=True)
class Outcome:
    """How a run ended: whether any test `noticed` something (or it did not end by itself), and the processor time it took."""

    noticed: bool
    took_s: float


def run(runs: Sequence[Run], *, at_once: int, log: int) -> Iterator[tuple[int, Outcome]]:
    """Run them side by side, `at_once` at a time; yield each one's number and outcome as it ends.

    What the tests say goes to the file descriptor `log`.
    """
    running: dict[int, int] = {}
    waiting = list(enumerate(runs))
    while waiting or running:
        while waiting and len(running) < at_once:
            number, one = waiting.pop(0)
            running[_start(one, log)] = number
        child, status, used = os.wait4(-1, 0)
        if child in running:
            yield running.pop(child), Outcome(status != 0, used.ru_utime + used.ru_stime)


def _start(one: Run, log: int) -> int:
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        os.dup2(log, 1)
        os.dup2(log, 2)
        resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(one.limit_s), math.ceil(one.limit_s)))  # then the kernel ends it
        for name in [name for name in sys.modules if name.partition(".")[0].startswith("llmpt")]:
            del sys.modules[name]
        if one.code is not None:
            sys.meta_path.insert(0, _Finder(one.target, one.code))
        hypothesis.settings.register_profile("mutants", derandomize=True, max_examples=30, deadline=None, database=None)
        hypothesis.settings.load_profile("mutants")
        status = int(pytest.main([*OPTIONS, *(str(ROOT / test) for test in one.target.tests)]))
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)
