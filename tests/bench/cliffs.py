"""What grows with all that a machine has, where only one thing is wanted: forgetting a blob, watching a download, a status.

Each figure stands beside the same one at a tenth of the size: read the growth.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from llmpt.core.blob import Etag
from llmpt.core.metainfo import Metainfo
from llmpt.core.networks import CidrSet
from llmpt.disk.growth import Growth
from llmpt.disk.inventory import Inventory
from llmpt.swarm import Engine, EngineSettings, SeededBlob

BLOBS, FILES, SIZE = 20_000, 100_000, 64 << 20


def main() -> None:
    """Print the figures; nothing is asserted."""
    for name, measure, count in (
        ("forgetting one of {} blobs", forgetting, BLOBS),
        ("a look at a growing download beside {} files", watching, FILES),
        ("what is sent of {} seeded blobs", status, BLOBS),
    ):
        small, large = measure(count // 10), measure(count)
        print(f"{name.format(count)}: {large * 1e3:.2f} ms, {large / max(small, 1e-9):.1f} × that of a tenth of them", flush=True)


def forgetting(count: int) -> float:
    """Return the seconds that it takes to forget a blob."""
    with tempfile.TemporaryDirectory() as folder, Inventory(Path(folder) / "agent.db") as inventory:
        blobs = [_blob(number) for number in range(count)]
        with inventory.transaction() as sql:
            for one in blobs:
                row = (one.etag.value, os.fsencode(_path(one)), one.size, 1, 2, one.root, None)
                sql.execute("INSERT INTO known_blobs VALUES (?, ?, ?, ?, ?, ?, ?)", row)
                sql.execute("INSERT INTO piece_layers VALUES (?, ?)", (one.root, one.layer))
        return _seconds([lambda one=one: inventory.forget(one.etag, _path(one)) for one in blobs[:20]])  # type: ignore[misc]


def watching(count: int) -> float:
    """Return the seconds that a look at a download takes, in a folder with so many files."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number in range(count):
            (folder / f"{number:064x}").touch()
        growth, file = Growth(folder / "etag", SIZE), folder / "etag.0123abcd.incomplete"
        file.write_bytes(bytes(1 << 20))
        growth.look()

        def look() -> None:
            with file.open("ab") as more:
                more.write(bytes(4096))
            growth.look()

        return _seconds([look] * 20)


def status(count: int) -> float:
    """Return the seconds that it takes to say what of so many seeded blobs is sent to whom."""
    settings = EngineSettings(listen=("127.0.0.1",), port=0, peer_cidrs=CidrSet.parse("127.0.0.0/8"))
    with tempfile.TemporaryDirectory() as folder, Engine(settings) as engine:
        for number in range(count):
            one = _blob(number)
            engine.seed(SeededBlob(one.etag, one.size, one.root, Path(folder) / one.etag.value))
        return _seconds([lambda: (engine.uploaded(), engine.receivers())] * 3)


def _blob(number: int) -> Metainfo:
    root = hashlib.sha256(b"%d" % number)
    return Metainfo(Etag(root.hexdigest()), SIZE, root.digest(), os.urandom(32 * 1024))


def _path(blob: Metainfo) -> Path:
    return Path("/cache") / blob.etag.value


def _seconds(calls: list[Callable[[], object]]) -> float:
    """Return how long a call takes."""
    began = time.perf_counter()
    for call in calls:
        call()
    return (time.perf_counter() - began) / len(calls)


if __name__ == "__main__":
    main()
