"""What the forge runs is what the project says it supports; it cannot be run here, so it is read."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from tests.contract.conftest import ALL_HUB_VERSIONS
from tests.contract.test_matrix_libraries import PLAIN, WITH_TORCH
from tests.support.machine import quiet_environment

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
WORKFLOW: dict[str, Any] = yaml.safe_load((ROOT / ".github/workflows/tests.yml").read_text(encoding="utf-8"))
JOBS: dict[str, Any] = WORKFLOW["jobs"]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def pythons(job: str) -> list[str]:
    found: list[str] = JOBS[job]["strategy"]["matrix"]["python"]
    return found


def classified() -> list[str]:
    return [found[1] for text in PROJECT["classifiers"] if (found := re.fullmatch(r".* :: Python :: (3\.\d+)", text))]


def test_every_python_that_the_project_names_is_tested_and_no_other() -> None:
    assert pythons("test") + pythons("hook") == classified()
    assert PROJECT["requires-python"] == f">={classified()[0]}"


def test_all_of_it_is_tested_on_the_pythons_that_libtorrent_has_wheels_for_and_the_hook_on_the_others() -> None:
    (libtorrent,) = (text for text in PROJECT["dependencies"] if text.startswith("libtorrent"))
    bound = re.search(r"python_version < '3\.(\d+)'", libtorrent)
    assert bound
    assert {int(version.partition(".")[2]) < int(bound[1]) for version in pythons("test")} == {True}
    assert {int(version.partition(".")[2]) < int(bound[1]) for version in pythons("hook")} == {False}


def test_linux_and_macos_are_tested() -> None:
    for job in ("test", "hook"):
        assert JOBS[job]["strategy"]["matrix"]["os"] == ["ubuntu-latest", "macos-latest"]
        assert JOBS[job]["runs-on"] == "${{ matrix.os }}"


def test_the_forge_runs_what_a_developer_runs_and_gives_up_in_time() -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    ran: dict[str, list[str]] = {}
    for name, job in JOBS.items():
        assert job["timeout-minutes"] <= 40, name
        lines = [step["run"] for step in job["steps"] if "run" in step]
        ran[name] = [word for line in lines for word in line.split()[1:] if "=" not in word]
        assert all(line.startswith("make PYTHON=python ") for line in lines), name
        assert set(ran[name]) <= targets
    assert ran == {"test": ["check", "test"], "hook": ["hook"], "matrix": ["matrix"], "audit": ["audit"]}


def test_every_action_is_named_by_its_commit() -> None:
    used = [step["uses"] for job in JOBS.values() for step in job["steps"] if "uses" in step]
    assert used
    assert all(re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", action) for action in used), used


def test_the_documents_name_the_versions_that_are_tried_and_no_other() -> None:
    text = " ".join((ROOT / "docs/workstations.md").read_text(encoding="utf-8").split())
    sentence = text.partition("Tried with huggingface_hub ")[2].partition(". A version")[0]
    hub, _, libraries = sentence.partition("; with ")
    assert re.findall(r"\d+\.\d+", hub) == [version.rpartition(".")[0] for version in ALL_HUB_VERSIONS]
    tried = dict(requirement.split("==") for requirement in (*PLAIN, *WITH_TORCH))
    named = dict(re.findall(r"([a-z-]+) (\d+\.\d+)", libraries))
    assert named == {name: version.rpartition(".")[0] for name, version in tried.items() if name != "torch"}


def test_the_hooks_tests_need_no_libtorrent() -> None:
    """It cannot be imported at all, so a module that needs it would fail, not skip."""
    (line,) = re.findall(r"^HOOK := (.+)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    files = [f"tests/unit/client/{name}" for name in line.split()]
    files += [str(path.relative_to(ROOT)) for path in (ROOT / "tests/contract").glob("test_hook_*.py")]
    program = "import sys, pytest; sys.modules['libtorrent'] = None; sys.exit(pytest.main(sys.argv[1:]))"
    command = [sys.executable, "-c", program, "--collect-only", "-q", "-p", "no:cacheprovider", *files]
    ran = subprocess.run(command, cwd=ROOT, env=quiet_environment(), capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stdout[-2000:]


def test_the_tests_against_the_real_hub_are_skipped_with_a_sentence_unless_they_are_asked_for() -> None:
    command = [sys.executable, "-m", "pytest", "-rs", "-p", "no:cacheprovider", "tests/live"]
    ran = subprocess.run(command, cwd=ROOT, env=quiet_environment(), capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stdout
    assert "6 skipped" in ran.stdout
    assert "downloads from the real Hub, so only when asked to: LLMPT_LIVE=1 make live" in ran.stdout
