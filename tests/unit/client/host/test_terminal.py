"""Whatever a command writes, and however: a terminal obeys none of it."""

from __future__ import annotations

import ast
import io
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import llmpt.cli
import llmpt_seeder.cli
import llmpt_tracker.cli
from llmpt.host.terminal import PlainGroup, PlainStream, as_it_is, plainly

ROOT = Path(__file__).parents[4]
ORDERS = "\x1b[2J\x9b31m\u202e\x07"


@pytest.mark.parametrize("group", [llmpt.cli.group, llmpt_tracker.cli.cli, llmpt_seeder.cli.main], ids=lambda one: one.name)
def test_each_command_line_is_a_plain_one(group: click.Group) -> None:
    assert isinstance(group, PlainGroup)


def test_a_command_of_it_writes_nothing_that_is_obeyed() -> None:
    @click.group(cls=PlainGroup)
    def group() -> None: ...

    @group.command()
    @click.argument("end")
    def careless(end: str) -> None:
        click.echo(ORDERS + "\tout")
        click.echo(ORDERS + "err", err=True)
        click.echo(ORDERS.encode())
        print(ORDERS)
        sys.stderr.write(ORDERS)
        if end:
            raise click.ClickException(end)

    done = CliRunner().invoke(group, ["careless", ORDERS])
    assert done.exit_code == 1
    assert isinstance(done.exception, SystemExit), done.exception
    assert all(line.isprintable() for line in done.output.split("\n")), done.output
    done = CliRunner().invoke(group, ["careless", "--" + ORDERS, ""])
    assert done.exit_code == 2
    assert all(line.isprintable() for line in done.output.split("\n")), done.output


def test_what_an_encoding_lacks_ends_nothing() -> None:
    raw = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    PlainStream(raw).write("modèle \udcff\n")
    raw.flush()
    assert raw.buffer.getvalue() == b"mod\\xe8le ?\n"


def test_a_program_of_the_users_has_the_terminal_itself(capsys: pytest.CaptureFixture[str]) -> None:
    with plainly(), as_it_is():
        print("\x1b[31mred")
    assert capsys.readouterr().out == "\x1b[31mred\n"


def test_nothing_else_writes_to_a_terminal() -> None:
    """Consoles are made in one place, and logging is configured in one."""
    found = []
    for folder in ("client/llmpt", "tracker/llmpt_tracker", "seeder/llmpt_seeder"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                name = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
                if name in ("Console", "rich.print", "logging.basicConfig"):
                    found.append((path.name, name))
    assert sorted(set(found)) == [("console.py", "Console"), ("logs.py", "logging.basicConfig")]
