"""The tracker's catalogue, asked over HTTP (`TrackerClient`), and what it answers.

    client = TrackerClient("http://server:8000")
    for torrent in client.get_torrents(repo_id="org/name", filename="model.safetensors") or []:
        print(torrent.etag, torrent.size, torrent.seeders)

`llmpt.tracker` does the work; these names stay.
"""

from llmpt.tracker.client import TrackerClient
from llmpt.tracker.torrents import Appearance, Torrent

__all__ = ["Appearance", "Torrent", "TrackerClient"]
