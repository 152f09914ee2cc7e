"""The tracker's settings: read once, by the parent, the application and the announcer alike."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from llmpt.core import settings as core
from llmpt.core.browsers import HostNames, Origins
from llmpt.core.errors import InvalidInput
from llmpt.core.files import expand_home
from llmpt.core.networks import DEFAULT_PEER_CIDRS, CidrSet
from llmpt.core.settings import load, setting
from llmpt.settings.sources import data_folder, sources
from llmpt.tracker.url import HttpUrl

DEFAULT_BIND = "0.0.0.0,[::]"
CONTROL_SOCKET = "LLMPT_CONTROL_SOCKET"  # from the parent to its two children, not for people
_VALKEY = re.compile(
    r"(?:valkeys?|rediss?)://(?:[^/@\s]*@)?(?:\[[0-9A-Fa-f:.]+\]|[^/@:?\s\[\]]+)(?::\d{1,5})?(?:/\d*)?(?:\?\S*)?|unix://\S+"
)


def database(value: str) -> str | None:
    """Read the URL of a database; nothing means the SQLite file in LLMPT_DATA."""
    if value and "://" not in value:
        raise ValueError("write it as postgresql+psycopg://user:password@host/name, or leave it out")
    kind, _, rest = value.partition("://")
    return f"postgresql+psycopg://{rest}" if kind in ("postgresql", "postgres") else value or None


def announce_url(value: str) -> str | None:
    """Read the address of announces; nothing means the port of announces at the name by which the tracker was asked."""
    if not value:
        return None
    try:
        parsed = HttpUrl.parse(value.rstrip("/"))
    except InvalidInput:
        parsed = None
    if parsed is None or "?" in value or "#" in value:
        raise ValueError("write it as https://hub.example.com/llmpt/announce")
    return parsed.text


def valkey(value: str) -> str | None:
    """Read the URL of a Valkey; nothing means none."""
    if value and _VALKEY.fullmatch(value) is None:
        raise ValueError("write it as valkey://user:password@host:6379, or leave it out")
    return value or None


def optional_port(value: str) -> int | None:
    """Read a port; nothing means none that was chosen."""
    return core.port(value) if value else None


def folder(value: str) -> Path | None:
    """Read a folder that exists; nothing means none."""
    if value and not expand_home(value).is_dir():
        raise ValueError(f"{value} is no folder; `make dist` makes one")
    return expand_home(value) if value else None


def file(value: str) -> Path | None:
    """Read a file that exists; nothing means none."""
    if value and not expand_home(value).is_file():
        raise ValueError("there is no such file")
    return expand_home(value) if value else None


def sharing(value: str) -> str:
    """Read which machines of the LAN may share what they fetched."""
    if value not in ("open", "invited", "off"):
        raise ValueError("write open, invited or off")
    return value


@dataclass(frozen=True)
class TrackerSettings:
    """What `llmpt-tracker serve` and its two processes were told."""

    data: Path = setting("LLMPT_DATA", data_folder, "", "Folder of the server's state; empty: the user's data folder")
    given_token_file: Path | None = setting(
        "LLMPT_TOKEN_FILE", core.optional_path, "", "File of the seeder's token; empty: publish.token in LLMPT_DATA"
    )
    http_port: int = setting("LLMPT_HTTP_PORT", core.port, "8000", "TCP port of the API and the page")
    announce_port: int = setting("LLMPT_ANNOUNCE_PORT", core.port, "6969", "TCP port of announces and scrapes")
    udp_announce_port: int | None = setting(
        "LLMPT_UDP_ANNOUNCE_PORT", optional_port, "", "UDP port of announces and scrapes; empty: the same number; 0: none"
    )
    announce_url: str | None = setting(
        "LLMPT_ANNOUNCE_URL", announce_url, "", "Where a .torrent has its client announce, behind a proxy; empty: at that port"
    )
    bind: tuple[str, ...] = setting("LLMPT_BIND", core.addresses, DEFAULT_BIND, "Addresses to listen on, separated by commas")
    peer_cidrs: CidrSet = setting(
        "LLMPT_PEER_CIDRS", core.cidrs, DEFAULT_PEER_CIDRS, "Networks that get an answer, on every port"
    )
    subnets: CidrSet = setting(
        "LLMPT_SUBNETS", core.cidrs, "", "Subnets of the site: a peer is told of those of its own subnet before others"
    )
    trusted_proxies: CidrSet = setting("LLMPT_TRUSTED_PROXIES", core.cidrs, "", "Proxies whose X-Forwarded-… is believed")
    hosts: HostNames = setting("LLMPT_HOSTS", HostNames.parse, "", "Names of this server, also patterns, that others could own")
    origins: Origins = setting("LLMPT_ORIGINS", Origins.parse, "", "Web pages, by origin, that may read what we serve")
    tls_cert: Path | None = setting(
        "LLMPT_TLS_CERT", file, "", "Certificate, with its chain, of the API and the page; empty: no TLS"
    )
    tls_key: Path | None = setting("LLMPT_TLS_KEY", file, "", "Its key; empty: in the same file")
    advertise_host: str | None = setting(
        "LLMPT_ADVERTISE_HOST", core.literal_address, "", "IP address under which the seeder is handed out to peers"
    )
    database_url: str | None = setting("LLMPT_DATABASE_URL", database, "", "Database; empty: SQLite in LLMPT_DATA/tracker.db")
    valkey_url: str | None = setting(
        "LLMPT_VALKEY_URL", valkey, "", "Valkey by which several replicas of a tracker know of each other; empty: there is one"
    )
    min_blob_bytes: int = setting(
        "LLMPT_MIN_BLOB_BYTES", core.size, "1M", "Files smaller than this have no swarm and come the ordinary way"
    )
    sharing: str = setting(
        "LLMPT_SHARING", sharing, "open", "Whose fetches the LAN shares: open (every machine's), invited (by a code), off"
    )
    require_read_token: bool = setting(
        "LLMPT_REQUIRE_READ_TOKEN", core.flag, "0", "Let only holders of a token that may read have anything, on every port"
    )
    show_machines: bool = setting(
        "LLMPT_SHOW_MACHINES", core.flag, "0", "Show to every machine which machine fetches what; else to admins alone"
    )
    ref_ttl_s: int = setting(
        "LLMPT_REF_TTL",
        core.integer(5, 86_400),
        "60",
        "Seconds for which upstream's word counts on where a branch or tag points; then it is asked again",
    )
    log: str = setting("LLMPT_LOG", core.log_form, "text", "How lines are logged: text, or json for programs that collect them")
    dist: Path | None = setting("LLMPT_DIST", folder, "", "Folder of wheels that /dist/ hands out; empty: none")
    control_socket: Path | None = None  # of the announcer; given by the parent

    @classmethod
    def read(cls, environ: Mapping[str, str] | None = None) -> TrackerSettings:
        """Read the environment and the config files. Raises `SettingError` naming what is wrong."""
        environ = os.environ if environ is None else environ
        socket = environ.get(CONTROL_SOCKET)
        return load(cls, sources(environ), control_socket=Path(socket) if socket else None)

    @property
    def database_location(self) -> str:
        """The SQLAlchemy URL that is used: the one that was set, else the SQLite file in `data`."""
        return self.database_url or f"sqlite:///{self.sqlite_file}"

    @property
    def sqlite_file(self) -> Path:
        """The embedded database; in use unless `database_url` is set."""
        return self.data / "tracker.db"

    @property
    def token_file(self) -> Path:
        """Where the first token lies for the seeder."""
        return self.given_token_file or self.data / "publish.token"

    @property
    def key_file(self) -> Path:
        """Where the key lies by which this server is known."""
        return self.data / "server.key"
