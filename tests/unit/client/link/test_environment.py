"""What of an environment an agent is started with, and by which Python."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from llmpt.link import environment, interpreter


def test_what_is_not_allowed_stays_with_the_starter() -> None:
    kept = environment.clean({
        "HF_TOKEN": "hf_secret", "LLMPT_TOKEN": "secret", "LD_PRELOAD": "x.so", "LC_CTYPE": "latin", "PYTHONSTARTUP": "x.py",
        "HOME": "/home/ann", "LLMPT_TRACKER": "http://t:1", "REQUESTS_CA_BUNDLE": "/ca.pem", "HTTPS_PROXY": "http://p:3128",
    })  # fmt: skip
    assert kept.pop("LC_ALL").endswith("UTF-8")
    assert kept == {
        "HOME": "/home/ann", "LLMPT_TRACKER": "http://t:1", "REQUESTS_CA_BUNDLE": "/ca.pem", "HTTPS_PROXY": "http://p:3128",
        "PYTHONUTF8": "1",
    }  # fmt: skip


def test_to_clean_twice_changes_nothing() -> None:
    once = environment.clean({**os.environ, "PYTHONPATH": "here::/there", "HF_TOKEN": "secret"})
    assert environment.clean(once) == once
    assert once["PYTHONPATH"] == f"{Path.cwd()}/here:/there"


def test_the_libraries_of_a_frozen_application_are_its_own() -> None:
    environ = {"LD_LIBRARY_PATH": "/app/_internal", "LD_LIBRARY_PATH_ORIG": "/opt/cuda"}
    assert environment.clean(environ)["LD_LIBRARY_PATH"] == "/app/_internal"
    assert environment.clean(environ, frozen=True)["LD_LIBRARY_PATH"] == "/opt/cuda"
    assert "LD_LIBRARY_PATH" not in environment.clean({"LD_LIBRARY_PATH": "/app/_internal"}, frozen=True)


def test_a_frozen_application_has_no_python_to_start_an_agent_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("application", "llmpt"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "application"))
    assert interpreter.own() is None
    assert interpreter.llmpt_elsewhere({"PATH": str(tmp_path)}) == str(tmp_path / "llmpt")


@pytest.mark.parametrize("executable", ["", "/usr/sbin/uwsgi", "/usr/bin/python3"])
def test_where_python_is_embedded_the_environment_has_one(monkeypatch: pytest.MonkeyPatch, executable: str) -> None:
    monkeypatch.setattr(sys, "executable", executable or None)
    found = interpreter.own()
    assert found is not None
    assert Path(found).parent == Path(sys.prefix) / "bin"
