"""What is kept of a request when it is over: figures, not what the session knew."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path

from llmpt.agent.transfer.record import Record
from llmpt.core import merkle
from llmpt.core.blob import Etag
from llmpt.core.metainfo import Metainfo
from llmpt.swarm import HTTP, Download
from tests.unit.client.agent.transfer.test_hub_rate import request


def test_a_record_that_is_over_keeps_its_figures_and_no_piece_layers() -> None:
    size = 100 << 20
    download = Download(Metainfo.from_leaves(Etag("e" * 64), size, bytes(32) * merkle.leaf_count(size)), Path("/x"))
    download.bytes_done, download.resumed_bytes = size, 7
    download.bytes_by_peer = {"10.0.0.7:6882": size - 10, HTTP: 3}
    record = Record.begin(request("http://hub"))
    record.download = download
    before = {name: said for name, said in record.as_json().items() if name not in ("outcome", "ended_at", "seconds", "moved")}
    record.end("done", "", moved=True)
    after = record.as_json()
    assert {name: after[name] for name in before} == before
    assert (after["bytes_from_lan"], after["bytes_by_http"], record.machines) == (size - 7, 3, 1)
    kept = weakref.ref(download)
    del download
    gc.collect()
    assert kept() is None
