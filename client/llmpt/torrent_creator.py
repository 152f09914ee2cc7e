"""From a file to its torrent (BEP 52), in one read: `create_torrent`.

`llmpt.disk.torrents` does the work; these names stay.
"""

from llmpt.disk.torrents import create_torrent

__all__ = ["create_torrent"]
