"""`llmpt config`: what is set, and where."""

from __future__ import annotations

import os
import re
import sys
from typing import Any

import click
from rich.text import Text

from llmpt.cli.output import add_row, console, json_option, show_json, table
from llmpt.core.settings import without_password
from llmpt.settings import ClientSettings
from llmpt.settings.sources import Origin, origins, user_config_file

SECRET = re.compile(r"TOKEN|SECRET|PASSWORD|KEY")


@click.group()
def config() -> None:
    """The settings of this machine's client."""


@config.command("show")
@json_option
def show_config(as_json: bool) -> None:
    """Show each setting, its value, and where it comes from. Exit code 1 when one cannot be used."""
    found = origins(ClientSettings, os.environ)
    if as_json:
        show_json({"file": str(user_config_file(os.environ)), "settings": [_as_json(one) for one in found]})
    else:
        made = table("setting", "value", "from")
        for one in found:
            add_row(made, [one.name, shown(one) + (f"  ({one.problem})" if one.problem else ""), one.place])
        out = console()
        out.print(made)
        out.print(Text(f"your config file: {user_config_file(os.environ)}"))
    sys.exit(1 if any(one.problem for one in found) else 0)


def _as_json(one: Origin) -> dict[str, Any]:
    return {"name": one.name, "value": shown(one), "from": one.place, "meaning": one.doc, "problem": one.problem}


def shown(one: Origin) -> str:
    """The value; of a secret only that there is one; of a URL all but its password."""
    if SECRET.search(one.name) and one.text:
        return "********"
    return without_password(one.text)
