"""The environment that an agent lives in: an allow-list, whatever its starter has.

An agent outlives the program that starts it, and serves all programs of its user. A token, a cloud key, a preloaded library or
a locale of that program is none of its business.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

from llmpt.core.settings import declared
from llmpt.settings import ClientSettings

_SECRET = frozenset({"LLMPT_TOKEN"})  # of people who mirror; the agent has a token of its own
_SETTINGS = frozenset(name for name, _, _ in declared(ClientSettings)) - _SECRET
_PLACES = frozenset({"HOME", "LOGNAME", "PATH", "TZ", "USER"} | {
    f"XDG_{which}" for which in ("CACHE_HOME", "CONFIG_HOME", "DATA_HOME", "RUNTIME_DIR", "STATE_HOME")
})  # fmt: skip
_AUTHORITIES = frozenset({"CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "SSL_CERT_DIR", "SSL_CERT_FILE"})
_PROXIES = frozenset({"all_proxy", "http_proxy", "https_proxy", "no_proxy"})  # in either case
# Without these an interpreter may not find itself, or us.
_LIBRARIES = frozenset({"DYLD_LIBRARY_PATH", "LD_LIBRARY_PATH"})  # where a frozen application names its own
_PYTHON = _LIBRARIES | frozenset({"PYTHONHOME", "PYTHONNOUSERSITE", "PYTHONPATH", "PYTHONPYCACHEPREFIX", "PYTHONUSERBASE"})
_ALLOWED = _SETTINGS | _PLACES | _AUTHORITIES | _PROXIES | _PYTHON
_UTF8 = {"LC_ALL": "en_US.UTF-8" if sys.platform == "darwin" else "C.UTF-8", "PYTHONUTF8": "1"}


def clean(environ: Mapping[str, str], *, frozen: bool = False) -> dict[str, str]:
    """Return what of `environ` an agent is started with. To clean twice changes nothing.

    `frozen`: the starter is an application that brings its own libraries.
    """
    kept = {name: value for name, value in environ.items() if name in _ALLOWED or name.lower() in _PROXIES}
    if frozen:
        kept = {name: value for name, value in kept.items() if name not in _LIBRARIES}
        kept |= {name: environ[f"{name}_ORIG"] for name in _LIBRARIES if environ.get(f"{name}_ORIG")}
    if "PYTHONPATH" in kept:  # an agent lives in "/"
        folders = [os.path.abspath(folder) for folder in kept["PYTHONPATH"].split(os.pathsep) if folder]  # noqa: PTH100
        kept["PYTHONPATH"] = os.pathsep.join(folders)
    return kept | _UTF8
