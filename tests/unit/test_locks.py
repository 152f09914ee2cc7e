"""What images, /dist/ and developers are installed with: the locks hold all that pyproject.toml needs, every file by its hash."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def script(path: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


UPDATE, DIST = script("locks/update.py"), script("compose/dist.py")
ROLES = [*UPDATE.ROLES, *UPDATE.TOOLS]


def lock(role: str) -> str:
    return (ROOT / "locks" / f"{role}.txt").read_text(encoding="utf-8")


def pins(role: str) -> dict[str, list[str]]:
    """Return the versions of each name: one, or several where the Pythons differ."""
    found: dict[str, list[str]] = {}
    for name, version in re.findall(r"^([\w.-]+)==([\w.!+-]+)", lock(role), re.MULTILINE):
        found.setdefault(canonicalize_name(name), []).append(version)
    return found


@pytest.mark.parametrize("role", ROLES)
def test_every_line_of_a_lock_is_one_version_with_hashes_and_names_no_host(role: str) -> None:
    text = lock(role)
    entries = [entry for entry in re.split(r"^(?=\S)", text, flags=re.MULTILINE) if entry.strip()]
    assert entries
    for entry in entries:
        assert re.match(r"[\w.-]+==[\w.!+-]+", entry), entry
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", entry), entry
    assert "://" not in text


@pytest.mark.parametrize("role", list(UPDATE.ROLES))
def test_a_lock_holds_what_its_role_needs_in_a_version_that_will_do(role: str) -> None:
    locked = pins(role)
    for line in UPDATE.needed(PROJECT, role):
        need = Requirement(line)
        versions = locked.get(canonicalize_name(need.name))
        assert versions, f"make lock: {need.name} is not in locks/{role}.txt"
        assert all(need.specifier.contains(version, prereleases=True) for version in versions), f"make lock: {line}"


def test_roles_that_share_a_dependency_share_its_version() -> None:
    every = {role: pins(role) for role in UPDATE.ROLES}
    for role, found in every.items():
        for name, versions in found.items():
            assert set(versions) <= set(every["dev"].get(name, versions)), f"{role}: {name}"


def test_what_dist_hands_out_is_looked_up_in_the_lock_by_name_and_version() -> None:
    names = {canonicalize_name(pin.partition("==")[0]) for pin, _ in DIST.LOCKED.findall(lock("dist"))}
    assert names == set(pins("dist"))
    assert all(hashes.count("--hash=sha256:") for _, hashes in DIST.LOCKED.findall(lock("dist")))


def test_the_images_install_from_the_locks_alone() -> None:
    stages = (ROOT / "Dockerfile").read_text(encoding="utf-8").partition("# For the tests only")[0]
    for command in re.findall(r"install --quiet[^\n]*", stages):
        assert "--require-hashes" in command or command.endswith("--no-deps /wheels/*.whl"), command
