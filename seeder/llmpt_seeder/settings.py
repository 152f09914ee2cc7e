"""The seeder's settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from llmpt.core import settings as core
from llmpt.core.browsers import HostNames, Origins
from llmpt.core.errors import SettingError
from llmpt.core.files import real_path
from llmpt.core.networks import DEFAULT_PEER_CIDRS, CidrSet
from llmpt.core.rates import RateLimit, rate_limit
from llmpt.core.settings import setting
from llmpt.settings.sources import data_folder, sources


def optional_size(value: str) -> int | None:
    """Read a number of bytes; nothing means none."""
    return core.size(value) if value else None


@dataclass(frozen=True, slots=True)
class SeederSettings:
    """The settings of one seeder; see each field's line for what it means."""

    tracker: str | None = setting("LLMPT_TRACKER", core.url, "http://127.0.0.1:8000", "the tracker's address")
    token: str | None = setting(
        "LLMPT_TOKEN", core.optional_text, "", "the token to publish with; without it the one in LLMPT_TOKEN_FILE"
    )
    given_token_file: Path | None = setting(
        "LLMPT_TOKEN_FILE", core.optional_path, "", "the file with that token; empty: publish.token in LLMPT_DATA"
    )
    data: Path = setting("LLMPT_DATA", data_folder, "", "folder of the server's state; empty: the user's data folder")
    cache: Path = setting(
        "HF_HUB_CACHE", core.path, "~/.cache/huggingface/hub", "the Hub cache to read; never written to (HF_HOME counts too)"
    )
    hub: str | None = setting(
        "HF_ENDPOINT", core.url, "https://huggingface.co", "the Hub that is asked what is public and which files a commit has"
    )
    repos: tuple[str, ...] = setting(
        "LLMPT_REPOS",
        core.repo_patterns,
        "",
        "repos to share without asking the Hub: names or patterns, `!` excludes, `*` shares all",
    )
    upstream: str | None = setting(
        "LLMPT_UPSTREAM", core.url, "", "the Hub from which what the LAN does not have is fetched; empty: none"
    )
    mirror: Path | None = setting(
        "LLMPT_MIRROR_CACHE", core.optional_path, "", "the Hub cache for what is fetched; empty: the folder mirror in LLMPT_DATA"
    )
    mirror_quota_bytes: int | None = setting(
        "LLMPT_MIRROR_QUOTA",
        optional_size,
        "",
        "bytes that may lie there; what was not wanted for longest goes first; empty: a tenth of the disk is left; 0: no limit",
    )
    hub_token: str | None = setting(
        "HF_TOKEN", core.optional_text, "", "the token of the Hub that is used for repos that LLMPT_REPOS names, and no others"
    )
    peer_port: int = setting("LLMPT_PEER_PORT", core.port, "6881", "port that peers connect to; 0 takes a free one")
    blob_port: int = setting("LLMPT_BLOB_PORT", core.port, "8001", "TCP port of files over HTTP; 0 takes a free one")
    bind: tuple[str, ...] = setting("LLMPT_BIND", core.addresses, "0.0.0.0,[::]", "addresses to listen on")
    peer_cidrs: CidrSet = setting("LLMPT_PEER_CIDRS", core.cidrs, DEFAULT_PEER_CIDRS, "networks that may talk to us")
    hosts: HostNames = setting("LLMPT_HOSTS", HostNames.parse, "", "names of this server, also patterns, that others could own")
    origins: Origins = setting("LLMPT_ORIGINS", Origins.parse, "", "web pages, by origin, that may read what we serve")
    tls_cert: Path | None = setting(
        "LLMPT_TLS_CERT", core.optional_path, "", "certificate, with its chain, of files over HTTP; empty: no TLS"
    )
    tls_key: Path | None = setting("LLMPT_TLS_KEY", core.optional_path, "", "its key; empty: in the same file")
    ca: str = setting(
        "LLMPT_CA", core.text, "", "a file or folder with authorities that count for an https tracker, beside the system's"
    )
    min_blob_bytes: int = setting("LLMPT_MIN_BLOB_BYTES", core.size, "1M", "smallest file that gets a swarm")
    scan_interval_s: float = setting("LLMPT_SCAN_INTERVAL", core.number(0.1, 86400), "10", "seconds between looks at the cache")
    log: str = setting("LLMPT_LOG", core.log_form, "text", "how lines are logged: text, or json for programs that collect them")
    upload_limit: RateLimit = setting(
        "LLMPT_UPLOAD_LIMIT", rate_limit, "0", "bytes per second to send at most, also by hours: `10M@08:00-18:00,0`; 0: none"
    )

    @classmethod
    def read(cls, environ: Mapping[str, str] | None = None) -> SeederSettings:
        """Read the environment and the config files; raise `SettingError` naming what is wrong."""
        source = sources(environ)
        settings = core.load(cls, {**source, "HF_HUB_CACHE": core.hub_cache(source)})
        read, fetched = real_path(settings.cache), real_path(settings.mirror_cache)
        within = read.is_relative_to(fetched) or fetched.is_relative_to(read)
        if settings.upstream is not None and (within or _is_same(read, fetched)):
            raise SettingError(
                f"LLMPT_MIRROR_CACHE={str(fetched)!r} cannot be used: the folder that is fetched into must lie apart from"
                " HF_HUB_CACHE, which is never written to"
            )
        return settings

    @property
    def database(self) -> Path:
        return self.data / "seeder.db"

    @property
    def mirror_cache(self) -> Path:
        """Where what is fetched from upstream lies."""
        return self.mirror or self.data / "mirror"

    @property
    def token_file(self) -> Path:
        return self.given_token_file or self.data / "publish.token"

    @property
    def alive_file(self) -> Path:
        return self.data / "seeder.alive"


def _is_same(one: Path, other: Path) -> bool:
    """Say whether two paths are one folder: by two names, as of a container into which it is mounted twice."""
    try:
        return one.samefile(other)
    except OSError:
        return False  # one of them is not there
