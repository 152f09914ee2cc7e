"""What the doctor says of an agent that answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from llmpt.doctor.agent import running
from llmpt.doctor.context import Context, Life
from llmpt.link.versions import own_version

WELL = {"version": own_version(), "tracker": "http://t:8000", "pid": 7, "port": 6882, "seeding": [], "troubles": []}
TROUBLE = {"name": "sweep", "error": "the disk is full", "since": 1.0}


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return Context({"LLMPT_TRACKER": "http://t:8000", "HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)})


def saying(context: Context, status: dict[str, Any]) -> Context:
    context.life = Life(status)
    return context


def test_one_that_works_is_well(context: Context) -> None:
    assert running(saying(context, WELL)).outcome == "ok"


def test_one_in_which_something_goes_on_failing_is_a_warning_that_says_what(context: Context) -> None:
    found = running(saying(context, WELL | {"troubles": [TROUBLE]}))
    assert (found.outcome, found.message) == ("warn", "sweep does not work: the disk is full")
    assert "log" in found.remedy


def test_one_that_is_too_old_to_say_is_well(context: Context) -> None:
    assert running(saying(context, {name: value for name, value in WELL.items() if name != "troubles"})).outcome == "ok"
