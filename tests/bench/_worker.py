"""A warm Python that downloads on demand: start-up, imports and the first connection are behind it.

Reads one JSON object per line, `{"repo", "file", "p2p": true | false | null}`; answers `{"seconds": …}`: from the call of
`hf_hub_download` to the file in a new, empty cache. `p2p` switches the hook on or off first; null leaves it. A `file` of null is
the whole repo, by `snapshot_download`.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

import llmpt


def main() -> None:
    from huggingface_hub import hf_hub_download, snapshot_download

    with tempfile.TemporaryDirectory(prefix="llmpt-bench-", dir=Path.home()) as caches:
        for number, line in enumerate(sys.stdin):
            wanted = json.loads(line)
            if wanted["p2p"] is not None:
                llmpt.enable_p2p() if wanted["p2p"] else llmpt.disable_p2p()
            started = time.perf_counter()
            cache, file = f"{caches}/{number}", wanted["file"]
            path = (
                hf_hub_download(wanted["repo"], file, cache_dir=cache)
                if file
                else snapshot_download(wanted["repo"], cache_dir=cache)
            )
            seconds = time.perf_counter() - started
            found = [Path(path)] if file else [*Path(path).rglob("*")]
            print(json.dumps({"seconds": seconds, "bytes": sum(one.stat().st_size for one in found)}), flush=True)


if __name__ == "__main__":
    main()
