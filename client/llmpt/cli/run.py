"""`llmpt run`: run a Python script or module with the hook on, where the .pth file does not reach (`-S`, zip archives)."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import click

import llmpt
from llmpt.core.files import real_path
from llmpt.host.terminal import as_it_is


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option("-m", "module", metavar="MODULE", help="Run a module, as python -m does.")
@click.option("--tracker", metavar="URL", help="The server's address for this run; default LLMPT_TRACKER.")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def run(module: str | None, tracker: str | None, arguments: tuple[str, ...]) -> None:
    """Run SCRIPT [ARGUMENTS] with downloads taken from the LAN where it has them."""
    if module is None and not arguments:
        raise click.UsageError("name a script, or a module with -m")
    if module is None and not Path(arguments[0]).exists():
        raise click.UsageError(f"no such script: {arguments[0]}")
    llmpt.enable_p2p(tracker=tracker)
    with as_it_is():
        _run(module, arguments)


def _run(module: str | None, arguments: tuple[str, ...]) -> None:
    try:
        if module is not None:
            sys.argv = [module, *arguments]
            sys.path.insert(0, "")
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        else:
            script = Path(arguments[0])
            sys.argv = list(arguments)
            sys.path.insert(0, str(real_path(script).parent))
            runpy.run_path(str(script), run_name="__main__")
    except Exception:  # noqa: BLE001 - the program's own, shown as Python itself shows it
        sys.excepthook(*sys.exc_info())
        sys.exit(1)
