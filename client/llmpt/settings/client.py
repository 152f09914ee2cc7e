"""What a user can set on a workstation: read once, by the hook, the agent and the command line alike.

Only the standard library is needed to import this: the hook reads it inside other people's programs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llmpt.core.networks import DEFAULT_PEER_CIDRS, CidrSet
from llmpt.core.rates import RateLimit, rate_limit
from llmpt.core.settings import (
    choice,
    cidrs,
    flag,
    load,
    log_form,
    number,
    optional_text,
    patterns,
    port,
    setting,
    size,
    text,
    url,
)
from llmpt.settings.sources import sources


@dataclass(frozen=True, slots=True)
class ClientSettings:
    """The settings of one workstation. `tracker` None means that nothing is ever asked of the LAN."""

    tracker: str | None = setting("LLMPT_TRACKER", url, "", "the server's address, e.g. http://server:8000")
    ca: str = setting(
        "LLMPT_CA",
        text,
        "",
        "a file or folder with certificate authorities that count for the LAN's servers, beside the system's",
    )
    token: str | None = setting(
        "LLMPT_TOKEN",
        optional_text,
        "",
        "the token for `llmpt mirror`, and to read with where that takes one; without it this machine's own",
    )
    use_p2p: bool = setting("HF_USE_P2P", flag, "1", "0 switches llmpt off for a process")
    min_blob_bytes: int = setting("LLMPT_MIN_BLOB_BYTES", size, "1M", "smaller files are left to the ordinary path")
    stall_timeout_s: float = setting(
        "LLMPT_STALL_TIMEOUT", number(0.1, 3600), "5", "seconds without a byte after which a download falls back to the Hub"
    )
    hub: str = setting(
        "LLMPT_HUB",
        choice("auto", "always", "never"),
        "auto",
        "which questions go to the Hub: those that the LAN cannot answer exactly, all of them, or none",
    )
    hub_down: str = setting(
        "LLMPT_HUB_DOWN",
        choice("use-lan", "fail"),
        "use-lan",
        "where the Hub fails: go by what the LAN knows of it, or fail, too",
    )
    streams: bool = setting(
        "LLMPT_STREAMS", flag, "0", "1: what programs read of files without downloading them comes from the LAN, unverified"
    )
    discovery: bool = setting(
        "LLMPT_DISCOVERY", flag, "1", "0: no tracker of the LAN is looked for by mDNS, and `llmpt serve` is not announced"
    )
    quiet: bool = setting("LLMPT_QUIET", flag, "0", "1 leaves out the line that says how much came from the LAN")
    log: str = setting("LLMPT_LOG", log_form, "text", "how lines are logged: text, or json for programs that collect them")
    metrics_port: int = setting(
        "LLMPT_AGENT_METRICS_PORT", port, "0", "the port of 127.0.0.1 at which the agent answers Prometheus; 0: none"
    )
    peer_port: int = setting("LLMPT_PEER_PORT", port, "6882", "where the agent listens for peers (any free port if it is taken)")
    peer_cidrs: CidrSet = setting("LLMPT_PEER_CIDRS", cidrs, DEFAULT_PEER_CIDRS, "networks whose addresses may talk to us")
    bind: tuple[str, ...] = setting("LLMPT_BIND", patterns, "0.0.0.0,[::]", "addresses to listen on")
    interface: tuple[str, ...] = setting(
        "LLMPT_INTERFACE", patterns, "", "network interfaces (or their addresses) to share on; without it all but tunnels"
    )
    agent: str = setting(
        "LLMPT_AGENT", choice("stay", "job"), "stay", "job: the agent ends with the processes that it was started for"
    )
    share: bool = setting("LLMPT_SHARE", flag, "on", "off: this machine takes from the LAN and gives nothing")
    upload_limit: RateLimit = setting(
        "LLMPT_UPLOAD_LIMIT", rate_limit, "0", "bytes per second given to others, also by hours: `10M@08:00-18:00,0`; 0: none"
    )
    download_limit: RateLimit = setting(
        "LLMPT_DOWNLOAD_LIMIT", rate_limit, "0", "bytes per second taken from other machines, likewise (0: no limit)"
    )

    @classmethod
    def read(cls, environ: Mapping[str, str] | None = None, **overrides: Any) -> ClientSettings:
        """Read the environment (or `environ`) and the config files; raise `SettingError` naming what is wrong."""
        return load(cls, sources(environ), **overrides)
