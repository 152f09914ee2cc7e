"""The door that every start of this Python goes through: it waits for one import, costs nothing, and never raises."""

from __future__ import annotations

import importlib.util
import pkgutil
import re
import subprocess
import sys
import types
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from llmpt import _boot

FOLDER = Path(_boot.__file__).parents[1]


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[list[types.ModuleType]]:
    """A huggingface_hub of our own on the path, an armed finder, and what was patched so far."""
    package = tmp_path / "huggingface_hub"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "file_download.py").write_text("executed = True\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    saved = {name: sys.modules.pop(name) for name in list(sys.modules) if name.split(".")[0] == "huggingface_hub"}
    patched: list[types.ModuleType] = []
    monkeypatch.setattr("llmpt.hook.patch.install", patched.append)
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    _boot.cancel()
    yield patched
    for name in [name for name in sys.modules if name.split(".")[0] == "huggingface_hub"]:
        del sys.modules[name]
    sys.modules.update(saved)


def load() -> types.ModuleType:
    return importlib.import_module(_boot.TARGET)


def test_the_module_is_patched_after_it_was_executed_and_the_finder_leaves(installed: list[types.ModuleType]) -> None:
    _boot.arm()
    assert _boot.waiting()
    module = load()
    assert installed == [module]
    assert module.executed
    assert not _boot.waiting()


def test_a_module_that_is_there_already_is_patched_at_once(installed: list[types.ModuleType]) -> None:
    module = load()
    _boot.arm()
    assert installed == [module]
    assert not _boot.waiting()


def test_arming_twice_waits_once(installed: list[types.ModuleType]) -> None:
    _boot.arm()
    _boot.arm()
    load()
    assert len(installed) == 1


def test_a_module_that_fails_to_import_is_patched_when_it_succeeds(installed: list[types.ModuleType], tmp_path: Path) -> None:
    source = tmp_path / "huggingface_hub" / "file_download.py"
    source.write_text("raise ImportError('not today')\n")
    _boot.arm()
    with pytest.raises(ImportError, match="not today"):
        load()
    assert _boot.waiting()
    source.write_text("executed = 'at the second try'\n")
    importlib.invalidate_caches()
    assert installed == []
    assert load() in installed


def test_looking_for_the_module_does_not_patch_anything(installed: list[types.ModuleType]) -> None:
    _boot.arm()
    assert importlib.util.find_spec(_boot.TARGET) is not None
    assert installed == []
    assert _boot.waiting()


def test_what_was_cancelled_meanwhile_is_not_patched(installed: list[types.ModuleType], tmp_path: Path) -> None:
    (tmp_path / "huggingface_hub" / "file_download.py").write_text("import llmpt._boot\nllmpt._boot.cancel()\n")
    _boot.arm()
    load()
    assert installed == []


def test_a_patch_that_fails_does_not_end_the_import(
    installed: list[types.ModuleType], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(module: types.ModuleType) -> None:
        raise RuntimeError("our bug")

    monkeypatch.setattr("llmpt.hook.patch.install", broken)
    _boot.arm()
    assert load().executed
    assert "our bug" in caplog.text


def test_another_finder_that_asks_all_the_others_does_not_send_us_in_circles(installed: list[types.ModuleType]) -> None:
    class Likewise:
        asked = 0

        def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
            self.asked += 1
            found = [f.find_spec(name, path, target) for f in sys.meta_path if f is not self]  # type: ignore[arg-type]
            return next((spec for spec in found if spec), None)

    _boot.arm()
    sys.meta_path.insert(0, Likewise())
    load()
    assert len(installed) == 1


def test_a_start_arms_the_finder_and_a_second_one_changes_nothing(
    installed: list[types.ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_USE_P2P", raising=False)
    _boot.start()
    finders = list(sys.meta_path)
    _boot.start()
    assert _boot.waiting()
    assert sys.meta_path == finders
    load()
    _boot.start()
    assert not _boot.waiting()


@pytest.mark.parametrize("off", ["0", " False", "no", "OFF"])
def test_hf_use_p2p_keeps_the_door_shut(installed: list[types.ModuleType], monkeypatch: pytest.MonkeyPatch, off: str) -> None:
    monkeypatch.setenv("HF_USE_P2P", off)
    _boot.start()
    assert not _boot.waiting()


# The two files that lie in site-packages


def entry_points() -> list[str]:
    """What Python 3.15 reads out of llmpt.start: every line that is neither blank nor a comment (PEP 829)."""
    lines = (FOLDER / "llmpt.start").read_bytes().decode("utf-8-sig").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def test_from_python_3_15_on_the_start_file_names_the_function_to_call() -> None:
    (entry,) = entry_points()
    assert re.fullmatch(r"[a-z_]+(\.[a-z_]+)*:[a-z_]+", entry), "the colon and the callable are mandatory"
    assert pkgutil.resolve_name(entry) is _boot.start
    assert pkgutil.resolve_name(entry)() is None


def test_an_older_python_reads_one_line_that_calls_the_same_function() -> None:
    (line,) = (FOLDER / "llmpt.pth").read_text(encoding="ascii").splitlines()
    assert line.startswith("import "), "site runs such a line, and takes every other one for a folder"
    assert bare_python(f"{line}; import llmpt; print(llmpt.is_enabled())") == "True"


def test_the_line_says_nothing_and_ends_no_start_when_the_package_has_gone() -> None:
    (line,) = (FOLDER / "llmpt.pth").read_text(encoding="ascii").splitlines()
    assert bare_python(f"{line}; print('started')", path="") == "started"


@pytest.mark.parametrize("statement", ["import llmpt", "import llmpt._boot", "import llmpt; llmpt.is_enabled()"])
def test_importing_loads_nothing_but_itself_and_arms_nothing(statement: str) -> None:
    script = f"import os; before = set(sys.modules); {statement}; print(*set(sys.modules) - before)"
    script += "; import llmpt; print(llmpt.is_enabled())"
    loaded, armed = bare_python(script).splitlines()
    assert set(loaded.split()) <= {"llmpt", "llmpt._boot"}
    assert armed == "False"


def bare_python(script: str, *, path: str | None = None) -> str:
    """Run a Python that reads no .pth file (-S), with our package, or only the folder `path`, on its path."""
    folder = str(FOLDER) if path is None else path
    command = [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {folder!r})\n{script}"]
    found = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    assert not found.stderr
    return found.stdout.strip()
