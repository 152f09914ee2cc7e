"""The seeder's settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from llmpt.core import settings as read
from llmpt.core.networks import DEFAULT_PEER_CIDRS, CidrSet
from llmpt.core.settings import setting


@dataclass(frozen=True, slots=True)
class SeederSettings:
    """Built by `load_settings`; see each field's line for what it means."""

    tracker: str | None = setting("LLMPT_TRACKER", read.url, "http://127.0.0.1:8000", "the tracker's address")
    token: str | None = setting(
        "LLMPT_TOKEN", read.optional_text, "", "the token to publish with; by default read from LLMPT_DATA/publish.token"
    )
    data: Path = setting("LLMPT_DATA", read.path, str(platformdirs.user_data_path("llmpt")), "folder of the server's own state")
    cache: Path = setting(
        "HF_HUB_CACHE", read.path, "~/.cache/huggingface/hub", "the Hub cache to read; never written to (HF_HOME counts too)"
    )
    hub: str | None = setting("HF_ENDPOINT", read.url, "https://huggingface.co", "the Hub that is asked what is public")
    repos: tuple[str, ...] = setting(
        "LLMPT_REPOS",
        read.patterns,
        "",
        "repos to share without asking the Hub: names or patterns, `!` excludes, `*` shares all",
    )
    peer_port: int = setting("LLMPT_PEER_PORT", read.port, "6881", "port that peers connect to; 0 takes a free one")
    bind: tuple[str, ...] = setting("LLMPT_BIND", read.patterns, "0.0.0.0,::", "addresses to listen on")
    peer_cidrs: CidrSet = setting("LLMPT_PEER_CIDRS", read.cidrs, DEFAULT_PEER_CIDRS, "networks that may talk to us")
    min_blob_bytes: int = setting("LLMPT_MIN_BLOB_BYTES", read.size, "1M", "smallest file that gets a swarm")
    scan_interval_s: float = setting("LLMPT_SCAN_INTERVAL", read.number(0.1, 86400), "10", "seconds between looks at the cache")
    upload_limit_bytes_s: int = setting("LLMPT_UPLOAD_LIMIT", read.size, "0", "bytes per second to send at most; 0 is no limit")

    @property
    def database(self) -> Path:
        return self.data / "seeder.db"

    @property
    def token_file(self) -> Path:
        return self.data / "publish.token"

    @property
    def alive_file(self) -> Path:
        return self.data / "seeder.alive"


def load_settings(environ: Mapping[str, str] | None = None, **overrides: object) -> SeederSettings:
    """Read the settings from the environment and the config files; raise `SettingError` naming what is wrong."""
    source = read.sources(environ)
    return read.load(SeederSettings, {**source, "HF_HUB_CACHE": hub_cache(source)}, **overrides)


def hub_cache(source: Mapping[str, str]) -> str:
    """Find the Hub cache with huggingface_hub's own precedence."""
    for name, below in (
        ("HF_HUB_CACHE", ""),
        ("HUGGINGFACE_HUB_CACHE", ""),
        ("HF_HOME", "hub"),
        ("XDG_CACHE_HOME", "huggingface/hub"),
    ):
        if value := source.get(name, "").strip():
            return f"{value}/{below}" if below else value
    return "~/.cache/huggingface/hub"
