"""qBittorrent without its window (`qbittorrent-nox`) on 127.0.0.1, asked over its web API: a BitTorrent client not of ours."""

from __future__ import annotations

import json
import shutil
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from tests.support.machine import quiet_environment
from tests.support.ports import free_ports
from tests.support.process import ServerProcess
from tests.support.waiting import eventually

PROGRAM = shutil.which("qbittorrent-nox")
NO_PROGRAM = "needs qBittorrent 4.4 or newer (Debian: apt-get install qbittorrent-nox)"

# Nothing but the tracker leads to peers, and all of it stays on this host.
_SETTINGS = r"""
[LegalNotice]
Accepted=true

[BitTorrent]
Session\AddTorrentPaused=false
Session\DHTEnabled=false
Session\LSDEnabled=false
Session\PeXEnabled=false
Session\Interface=lo
Session\InterfaceAddress=127.0.0.1
Session\InterfaceName=lo
Session\MultiConnectionsPerIp=true
Session\Port={port}

[Preferences]
Connection\UPnP=false
WebUI\Address=127.0.0.1
WebUI\LocalHostAuth=false
WebUI\Port={web_port}
WebUI\UseUPnP=false
"""


class QBittorrent(ServerProcess):
    """A context manager; `folder` takes its settings and what it downloads."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "qbittorrent.log")
        self.folder, self.downloads = folder, folder / "downloads"
        self.port, self._web_port = free_ports(2)

    def start(self) -> None:
        settings = self.folder / "profile" / "qBittorrent" / "config" / "qBittorrent.conf"
        settings.parent.mkdir(parents=True, exist_ok=True)
        settings.write_text(_SETTINGS.format(port=self.port, web_port=self._web_port))
        environ = quiet_environment() | {"HOME": str(self.folder), "XDG_RUNTIME_DIR": str(self.folder)}
        self._spawn([str(PROGRAM), f"--profile={self.folder / 'profile'}"], environ)
        eventually(self._answers, timeout_s=30, what="qBittorrent's web API")

    def add(self, source: str) -> None:
        """Add a torrent: the URL of a .torrent, or a magnet link."""
        self._post("torrents/add", urls=source, savepath=str(self.downloads))

    def torrents(self) -> list[dict[str, Any]]:
        """Return how its torrents stand."""
        with urllib.request.urlopen(self._url("torrents/info"), timeout=10) as answer:
            found: list[dict[str, Any]] = json.loads(answer.read())
            return found

    def is_done(self, etag: str) -> bool:
        """Say whether it has the whole of a blob, and seeds it."""
        return any(one["name"] == etag and one["progress"] == 1 and one["state"].endswith("UP") for one in self.torrents())

    def _answers(self) -> bool:
        assert self.running, self.log.read_text()
        try:
            with urllib.request.urlopen(self._url("app/version"), timeout=5) as answer:
                return bool(answer.read())
        except OSError:
            return False

    def _post(self, action: str, **fields: str) -> None:
        with urllib.request.urlopen(self._url(action), urlencode(fields).encode(), timeout=10) as answer:
            assert answer.read() == b"Ok."

    def _url(self, action: str) -> str:
        return f"http://127.0.0.1:{self._web_port}/api/v2/{action}"
