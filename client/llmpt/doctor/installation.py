"""Checks of what is installed in this Python, and of the settings."""

from __future__ import annotations

import importlib.util
import platform
import site
import subprocess
import sys
from pathlib import Path

from llmpt import _boot
from llmpt.core.errors import SwarmError
from llmpt.doctor.context import Context
from llmpt.doctor.finding import Finding, fail, ok, warn
from llmpt.host.tokens import without_tokens

FRESH_PYTHON_TIMEOUT_S = 20.0
_ANSWERS = {
    "auto": "the LAN answers first, the Hub what the LAN cannot say exactly",
    "always": "LLMPT_HUB=always: every question goes to the Hub",
    "never": "LLMPT_HUB=never: the LAN is the only source",
}
_TRY = "import huggingface_hub.file_download, llmpt; print(llmpt.is_enabled())"


def settings(context: Context) -> Finding:
    """Can every setting be used, and is a tracker set?"""
    if context.setting_error is not None:
        return fail(str(context.setting_error), "`llmpt config show` says where it is set; correct it there")
    if context.settings.tracker is None:
        return fail("no tracker is set: nothing is asked of the LAN", "`llmpt join http://server:8000`, with your server's name")
    streams = "; what is read and not downloaded comes from the LAN, unverified" if context.settings.streams else ""
    is_told = context.settings.hub == "auto" and context.settings.hub_down == "fail"
    down = "; a program is told where the Hub fails (LLMPT_HUB_DOWN=fail)" if is_told else ""
    return ok(f"tracker {context.settings.tracker}; {_ANSWERS[context.settings.hub]}{down}{streams}")


def python(context: Context) -> Finding:
    """Is this a Python that we run on?"""
    here = f"Python {platform.python_version()} ({sys.executable})"
    if sys.platform not in ("linux", "darwin"):
        return fail(f"{here} on {sys.platform}", "llmpt downloads from the LAN on Linux and macOS (and in WSL2) only")
    return ok(here)


def libtorrent(context: Context) -> Finding:
    """Can this Python run an agent?"""
    try:
        import llmpt.swarm  # noqa: F401 - whether it can be
    except SwarmError as error:
        if context.agent is not None:
            return ok("not here, but the agent of another environment runs")
        remedy = "use Python 3.10 to 3.13 on Linux or an ARM Mac, or `llmpt agent start` in an environment that has it"
        return fail(str(error).partition(";")[0], remedy)
    return ok("can be loaded")


def library(context: Context) -> Finding:
    """Is huggingface_hub here, and of a version that the hook knows?"""
    remedy = "install it into this environment: pip install huggingface_hub"
    if importlib.util.find_spec("huggingface_hub") is None:
        return fail("huggingface_hub is not installed in this Python", remedy)
    try:
        import huggingface_hub
        from huggingface_hub import file_download
    except ImportError as error:
        return fail(f"huggingface_hub cannot be imported: {error}", remedy)

    from llmpt.hook.library import unfit
    from llmpt.hook.questions.sessions import module_of
    from llmpt.hook.questions.sessions import unfit as unfit_sessions

    reason = unfit(file_download)
    if reason is not None:
        return fail(
            f"huggingface_hub {huggingface_hub.__version__}: {reason}; downloads take the ordinary path",
            "update llmpt, or use a version of huggingface_hub that docs/workstations.md names",
        )
    if (reason := unfit_sessions(module_of(file_download.__package__))) is not None:
        return warn(
            f"huggingface_hub {huggingface_hub.__version__}: {reason}; the LAN gives large files, and answers no questions",
            "update llmpt, or use a version of huggingface_hub that docs/workstations.md names",
        )
    return ok(f"huggingface_hub {huggingface_hub.__version__}")


def hook(context: Context) -> Finding:
    """Does a program of this environment get the hook, by installation alone? (Tried in a fresh Python.)"""
    if context.environ.get("HF_USE_P2P", "").strip().lower() in _boot.OFF and context.environ.get("HF_USE_P2P"):
        return fail("HF_USE_P2P switches the hook off in this shell", "unset HF_USE_P2P")
    if not context.settings.use_p2p:
        return fail("HF_USE_P2P in the config file switches the hook off", "take it out: `llmpt config show` names the file")
    environ = {**without_tokens(context.environ), "HF_HUB_DISABLE_TELEMETRY": "1"}
    try:
        tried = subprocess.run(
            [sys.executable, "-c", _TRY], env=environ, capture_output=True, text=True, timeout=FRESH_PYTHON_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return warn(f"could not be tried in a fresh Python: {error}", f"run {sys.executable} by hand and see")
    if tried.stdout.strip() == "True":
        return ok("a fresh Python has it")
    said = tried.stderr.strip().splitlines()
    if not _door_is_there():
        return fail(
            "llmpt.pth is not in this environment's site-packages, so programs do not get the hook",
            f"install llmpt again: {sys.executable} -m pip install --force-reinstall --no-deps llmpt; or use `llmpt run`",
        )
    return fail(f"a fresh Python has no hook{': ' + said[-1] if said else ''}", "see `huggingface_hub` above; or use `llmpt run`")


def _door_is_there() -> bool:
    folders = [*site.getsitepackages(), site.getusersitepackages()]
    return any((Path(folder) / "llmpt.pth").exists() for folder in folders)
