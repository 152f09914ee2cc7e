"""`llmpt serve`: a server without Docker: tracker and seeder as two processes that live and die together."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import click

from llmpt.core.errors import LlmptError, SettingError
from llmpt.core.files import expand_home, real_path
from llmpt.core.settings import patterns
from llmpt.host.supervisor import Supervisor
from llmpt.host.tokens import without_tokens
from llmpt.link.versions import own_version
from llmpt.settings import ClientSettings
from llmpt.settings.sources import data_folder, sources
from llmpt.tracker import discovery

_NEEDED = ("flask", "sqlalchemy", "alembic", "gunicorn", "pydantic", "yaml")


@click.command()
@click.option("--cache", type=click.Path(path_type=Path), help="The Hub cache to share; default HF_HUB_CACHE, as the Hub has it.")
@click.option("--data", type=click.Path(path_type=Path), help="Where state is kept; default LLMPT_DATA, else your data folder.")
@click.option("--repos", help="What to share beyond what is public on the Hub: patterns, `*` for all; default LLMPT_REPOS.")
def serve(cache: Path | None, data: Path | None, repos: str | None) -> None:
    """Run tracker and seeder on this machine until Ctrl-C."""
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise LlmptError(f"{', '.join(missing)} not installed: pip install 'llmpt[server]'")
    environ = dict(os.environ)
    if cache is not None:
        if not expand_home(cache).is_dir():
            raise SettingError(f"--cache {cache}: no such folder; name a Hub cache, such as ~/.cache/huggingface/hub")
        environ["HF_HUB_CACHE"] = str(real_path(expand_home(cache)))
    if data is not None:
        environ["LLMPT_DATA"] = str(real_path(expand_home(data)))
    if not environ.get("LLMPT_DATA", "").strip():
        try:
            environ["LLMPT_DATA"] = str(data_folder(""))
        except ValueError as error:
            raise SettingError(f"LLMPT_DATA: {error}") from None
    environ["LLMPT_TRACKER"] = _own_tracker(sources(environ))
    if repos is not None:
        environ["LLMPT_REPOS"] = repos
    with Supervisor() as family:
        family.start("tracker", [sys.executable, "-m", "llmpt_tracker", "serve"], env=without_tokens(environ))
        family.start("seeder", [sys.executable, "-m", "llmpt_seeder", "run"], env=environ)
        with _announced(environ):
            code = family.wait()
    sys.exit(code)


@contextmanager
def _announced(environ: Mapping[str, str]) -> Iterator[None]:
    """Let the LAN find the tracker by mDNS, unless LLMPT_DISCOVERY=0. A failure to announce does not stop the server."""
    settings = ClientSettings.read(environ)
    source = sources(environ)
    text, tls = source.get("LLMPT_HTTP_PORT", "8000"), bool(source.get("LLMPT_TLS_CERT"))
    port = int(text) if text.isdecimal() else 0  # the tracker says what is wrong with it
    with ExitStack() as stack:
        if settings.discovery and port:
            try:
                addresses = discovery.own_addresses(settings.bind, settings.peer_cidrs)
                if addresses:
                    stack.enter_context(discovery.announced(port=port, version=own_version(), addresses=addresses, tls=tls))
            except LlmptError as error:
                click.echo(f"llmpt: {error}", err=True)
        yield


def _own_tracker(source: Mapping[str, str]) -> str:
    """Return where the seeder finds the tracker on this very machine."""
    bind = [host.strip("[]") for host in patterns(source.get("LLMPT_BIND", ""))]
    everywhere = not bind or "0.0.0.0" in bind  # noqa: S104 - compared, not bound
    host = "127.0.0.1" if everywhere else bind[0]
    return f"http://{f'[{host}]' if ':' in host else host}:{source.get('LLMPT_HTTP_PORT', '8000')}"
