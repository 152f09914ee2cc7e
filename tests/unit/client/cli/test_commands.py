"""The command line itself: exit codes, sentences instead of tracebacks, what people type for a server or a repo."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from llmpt import cli
from llmpt.cli.arguments import repo
from llmpt.cli.config import shown
from llmpt.cli.join import address
from llmpt.cli.output import console
from llmpt.cli.status import show_troubles, today
from llmpt.core.errors import InvalidName, LlmptError, SettingError
from llmpt.core.repo import RepoRef
from llmpt.settings.sources import Origin


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, BaseException]]:
    """A command `break` that raises what it is told to."""
    told: dict[str, BaseException] = {}

    @click.command()
    def broken() -> None:
        raise told["error"]

    cli.group.add_command(broken, "break")
    monkeypatch.setattr(sys, "argv", ["llmpt", "break"])
    yield told
    del cli.group.commands["break"]


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (LlmptError("the tracker is away; try later"), 1, "llmpt: the tracker is away; try later"),
        (OSError(28, "No space left on device", "/some/file"), 1, "llmpt: No space left on device: /some/file"),
        (click.UsageError("not like that"), 2, "not like that"),
        (KeyboardInterrupt(), 130, ""),
        (click.Abort(), 130, ""),
        (SystemExit(3), 3, ""),
    ],
)
def test_each_end_has_its_exit_code_and_no_traceback(
    failing: dict[str, BaseException], capsys: pytest.CaptureFixture[str], error: BaseException, code: int, said: str
) -> None:
    failing["error"] = error
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == code
    err = capsys.readouterr().err
    assert said in err
    assert "Traceback" not in err


def test_a_program_under_run_keeps_its_own_traceback_and_exit_code(tmp_path: Path) -> None:
    (tmp_path / "fails.py").write_text("raise OSError(2, 'mine')\n")
    (tmp_path / "exits.py").write_text("import sys; sys.exit(7)\n")
    run = [sys.executable, "-m", "llmpt", "run"]
    environ = {**os.environ, "HF_USE_P2P": "0"}
    fails = subprocess.run([*run, str(tmp_path / "fails.py")], env=environ, capture_output=True, text=True, check=False)
    assert fails.returncode == 1
    assert "Traceback" in fails.stderr
    assert "fails.py" in fails.stderr
    assert subprocess.run([*run, str(tmp_path / "exits.py")], env=environ, check=False).returncode == 7


def test_output_into_a_pipe_that_closes_is_no_drama() -> None:
    command = f"{sys.executable} -m llmpt config show --json | true"
    ended = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, check=False)
    assert "Traceback" not in ended.stderr
    assert "Exception" not in ended.stderr


@pytest.mark.parametrize("name", sorted(set(cli.group.commands) - {"run", "agent", "serve", "config"}))
def test_every_command_that_shows_something_takes_json(name: str) -> None:
    assert "--json" in {option for parameter in cli.group.commands[name].params for option in parameter.opts}


@pytest.mark.parametrize(
    ("typed", "url"),
    [
        ("http://server:8000/", "http://server:8000"),
        ("https://models.lab", "https://models.lab"),
        ("server", "http://server:8000"),
        ("server:9000", "http://server:9000"),
        ("192.168.1.5", "http://192.168.1.5:8000"),
        ("[fd00::2]", "http://[fd00::2]:8000"),
        ("[fd00::2]:9000", "http://[fd00::2]:9000"),
    ],
)
def test_a_server_is_understood_as_people_type_it(typed: str, url: str) -> None:
    assert address(typed) == url


@pytest.mark.parametrize("typed", ["ftp://server", "server:port", "http://", "http://server:99999"])
def test_what_is_no_server_is_refused(typed: str) -> None:
    with pytest.raises(SettingError):
        address(typed)


def test_a_repo_is_understood_as_people_type_it() -> None:
    assert repo("org/name") == RepoRef("model", "org/name")
    assert repo("gpt2") == RepoRef("model", "gpt2")
    assert repo("datasets/org/name") == RepoRef("dataset", "org/name")
    assert repo("datasets/squad") == RepoRef("dataset", "squad")
    assert repo("org/name", "space") == RepoRef("space", "org/name")
    with pytest.raises(InvalidName):
        repo("a/b/c")


def test_secrets_and_passwords_are_not_shown() -> None:
    def of(name: str, text: str) -> str:
        return shown(Origin(name, text, "environment", "", ""))

    assert of("LLMPT_TOKEN", "llmpt_pub_abc") == "********"
    assert of("LLMPT_TOKEN", "") == ""
    assert of("LLMPT_DATABASE_URL", "postgresql://me:hunter2@db/x") == "postgresql://me:********@db/x"
    assert of("LLMPT_TRACKER", "http://server:8000") == "http://server:8000"


def test_what_came_from_where_today_leaves_out_yesterday() -> None:
    def row(ended_at: float | None, **more: Any) -> dict[str, Any]:
        usual = {"outcome": "done", "reason": "", "bytes_from_lan": 0, "bytes_by_peer": {}}
        return {"ended_at": ended_at, **usual, **more}

    found = today(
        [
            row(50.0, bytes_from_lan=7, bytes_by_peer={"10.0.0.1:6881": 7}),
            row(150.0, bytes_from_lan=30, bytes_by_peer={"10.0.0.1:6881": 10, "[fd00::2]:6882": 20}),
            row(None, outcome="running", bytes_from_lan=9, bytes_by_peer={"10.0.0.1:50001": 5, "http": 4}, bytes_by_http=4),
            row(160.0, outcome="refused", reason="nobody seeds it"),
        ],
        midnight=100.0,
    )
    assert found == {
        "files": 3,
        "lan_bytes": 39,
        "http_bytes": 4,
        "by_machine": {"10.0.0.1": 15, "[fd00::2]": 20},
        "not_from_lan": {"nobody seeds it": 1},
    }


def test_help_lists_every_command_with_a_sentence() -> None:
    text = cli.group.get_help(click.Context(cli.group))
    for name in cli.group.commands:
        assert re.search(rf"^  {name}\s+[A-Z]", text, re.MULTILINE), name


def test_status_says_what_does_not_work_in_the_agent(capsys: pytest.CaptureFixture[str]) -> None:
    show_troubles(console(), [{"name": "sweep", "error": "[red]the disk is full[/red]", "since": 0.0}])
    said = capsys.readouterr().out
    assert said.startswith("does not work since 19")
    assert said.endswith(": sweep: [red]the disk is full[/red]\n")
