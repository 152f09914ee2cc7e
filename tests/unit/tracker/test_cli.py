"""The command line without its dependencies."""

from __future__ import annotations

import importlib.util

import pytest

from llmpt_tracker import cli


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in ("flask", "pydantic") else find(name))
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == "llmpt-tracker needs flask, pydantic: pip install 'llmpt[tracker]'"  # on stderr, status 1
