"""A tracker whose every string holds what a terminal obeys: none of it reaches the terminal, of any command.

Commands run in this process against a real HTTP server: one run for each string of each answer.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llmpt import cli
from llmpt.host.logs import PlainFormatter
from tests.support.rogue_tracker import RIGHT, RogueTracker, changed, places, value_at

ORDERS = "\x1b[2J\x1b]0;title\x07\x9b31m\u202egnp\r\x08\n[link=file:///etc/passwd]x[/link]"
MANIFEST = "/api/v1/repos/model/org/name/revisions/main"
# What each command is run with, and the answers that it reads. None: it reads none of a tracker's.
COMMANDS: dict[str, tuple[list[str], tuple[str, ...]] | None] = {
    "ls": ([], ("/api/v1/repos",)),
    "ls --repo": (["org/name"], (MANIFEST, "/api/v1/torrents")),
    "ls --repo --json": (["org/name"], (MANIFEST,)),
    "mirror --list": ([], ("/api/v1/mirrors",)),
    "mirror --no-wait": (["org/name"], ("/api/v1/tokens", "/api/v1/mirrors")),
    "mirror --no-wait --json": (["org/name"], ("/api/v1/mirrors",)),
    "export": (["org/name", "--to", "OUT"], (MANIFEST,)),
    "join": (["URL"], ("/healthz",)),
    "join --json": (["URL"], ("/api/v1/torrents",)),
    "seed": (["org/name"], ("/api/v1/torrents",)),
    "doctor": ([], ()),
    "agent stop": ([], ()),
    "status": None,
    "download": None,
    "unseed": None,
    "leave": None,
    "import": None,
    "config": None,
    "run": None,
    "serve": None,
}


@pytest.fixture(scope="module")
def tracker() -> Iterator[RogueTracker]:
    with RogueTracker() as made:
        yield made


@pytest.fixture
def at_home(tracker: RogueTracker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    tracker.answers.update({**RIGHT, "/api/v1/torrents": {**RIGHT["/api/v1/torrents"], "announce_port": tracker.port}})
    for name, value in {
        "HOME": tmp_path,
        "XDG_CONFIG_HOME": tmp_path / "config",
        "XDG_STATE_HOME": tmp_path / "state",
        "XDG_RUNTIME_DIR": tmp_path,
        "HF_HOME": tmp_path / "hf",
        "LLMPT_TRACKER": tracker.url,
    }.items():
        monkeypatch.setenv(name, str(value))
    return tmp_path


def said(command: str, home: Path, tracker: RogueTracker, capfd: pytest.CaptureFixture[str]) -> str:
    """Run one command as its user would, and return all that it wrote."""
    told = COMMANDS[command]
    arguments = [one.replace("OUT", str(home / "out")).replace("URL", tracker.url) for one in (told[0] if told else [])]
    name, *options = command.split()
    if options[:1] == ["--repo"]:
        arguments = [*options[:1], *arguments, *options[1:]]
    else:
        arguments = [*options, *arguments]
    before = sys.argv
    sys.argv = ["llmpt", name, *arguments]
    try:
        cli.main()
    except SystemExit:
        pass
    finally:
        sys.argv = before
    out, err = capfd.readouterr()
    return out + err


def orders_in(text: str) -> list[str]:
    return sorted({char for char in text if not char.isprintable() and char != "\n"})


def strings() -> list[tuple[str, str, tuple[Any, ...]]]:
    return [
        (command, path, at)
        for command, told in COMMANDS.items()
        for path in (told[1] if told else ())
        for at in places(RIGHT[path])
        if isinstance(value_at(RIGHT[path], at), str)
    ]


def test_every_command_is_in_this_list() -> None:
    assert {command.split()[0] for command in COMMANDS} == set(cli.group.commands)


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        ("ls", "org/name"), ("ls --repo", "model.bin"), ("ls --repo --json", "model.bin"), ("mirror --list", "not today"),
        ("mirror --no-wait", "not today"), ("export", "model.bin is missing"), ("join", "answers (llmpt 0.1.0)"),
    ],
)  # fmt: skip
def test_what_is_right_is_shown(
    command: str, shown: str, tracker: RogueTracker, at_home: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert shown in said(command, at_home, tracker, capfd)


@pytest.mark.parametrize("command", [command for command, told in COMMANDS.items() if told and told[1]])
def test_no_string_of_an_answer_is_obeyed_by_a_terminal(
    command: str, tracker: RogueTracker, at_home: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for _, path, at in [one for one in strings() if one[0] == command]:
        for value in (ORDERS, str(value_at(RIGHT[path], at)) + ORDERS):
            tracker.says(path, changed(tracker.answers[path], at, value))
            text = said(command, at_home, tracker, capfd)
            assert orders_in(text) == [], (path, at, text)
            assert "Traceback" not in text
            tracker.says(path, RIGHT[path] | ({"announce_port": tracker.port} if "torrents" in path else {}))


@pytest.mark.parametrize("command", [command for command, told in COMMANDS.items() if told and told[1]])
def test_no_refusal_is_obeyed_by_a_terminal(
    command: str, tracker: RogueTracker, at_home: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for status in (400, 404, 503):
        for path in tracker.answers:
            tracker.says(path, {"_status": status, "error": {"code": ORDERS, "message": ORDERS}})
        text = said(command, at_home, tracker, capfd)
        assert orders_in(text) == [], text
        assert "llmpt:" in text


def test_doctor_obeys_no_tracker(tracker: RogueTracker, at_home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    try:
        for answer in ({"status": "ok", "version": ORDERS, "boot_id": ORDERS}, {"_status": 503, "error": {"message": ORDERS}}):
            tracker.says("/healthz", answer)
            text = said("doctor", at_home, tracker, capfd)
            assert orders_in(text) == [], text
            assert tracker.url in text
    finally:
        said("agent stop", at_home, tracker, capfd)


def test_a_log_has_one_line_for_each_message_and_obeys_none_of_it() -> None:
    try:
        raise ValueError(ORDERS)
    except ValueError:
        record = logging.LogRecord("llmpt", logging.WARNING, __file__, 1, "refused: %s", (ORDERS,), sys.exc_info())
    lines = PlainFormatter("%(levelname)s %(message)s").format(record).split(os.linesep)
    assert lines[0].startswith("WARNING refused: ")
    assert lines[1].startswith("Traceback")
    assert all(line.isprintable() for line in lines)
