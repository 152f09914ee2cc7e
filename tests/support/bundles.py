"""Disks as `llmpt export` writes them, made by hand: signed by a key of the test's own, and then prepared to do harm.

bundle = Bundle(tmp_path / "disk", ServerKey.generate())
bundle.revision("org/model", {"config.json": b"{}"})
done = bring(bundle.root, tmp_path / "home", "--yes")
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from llmpt.core.repo import Commit, RefName, RepoRef
from llmpt.identity.keys import ServerKey
from llmpt.identity.statement import Content, files_sha256, sign
from tests.support.machine import quiet_environment

COMMIT = "c0ffee" + "0" * 34


@dataclass
class Bundle:
    """An export below `root`; `key` None: nobody signs."""

    root: Path
    key: ServerKey | None = None
    name: str = "server"
    refs: tuple[str, ...] = ("main",)
    files: list[dict[str, Any]] = field(default_factory=list)

    def revision(self, repo_id: str, contents: dict[str, bytes], *, commit: str = COMMIT) -> Path:
        """Add a revision, the whole of it; return its manifest."""
        for folder in ("blobs", "manifests", "torrents"):
            (self.root / folder).mkdir(parents=True, exist_ok=True)
        (self.root / "llmpt-export.json").write_text('{"format": 1, "revisions": []}')
        rows = []
        for path, content in sorted(contents.items()):
            etag = sha256(content).hexdigest()
            (self.root / "blobs" / etag).write_bytes(content)
            rows.append({"path": path, "size": len(content), "etag": etag, "lfs": True, "here": True})
        return self.manifest(repo_id, rows, commit=commit)

    def manifest(self, repo_id: str, rows: list[dict[str, Any]], *, commit: str = COMMIT) -> Path:
        """Add a list of files."""
        ref = RepoRef("model", repo_id)
        signatures = []
        if self.key is not None:
            listed = files_sha256((row["path"], row["size"], row["etag"]) for row in rows)
            content = Content(ref, Commit(commit), True, listed)
            signatures.append(sign(self.key, self.name, content, map(RefName, self.refs)).as_json())
        document = {"format": 1, "repo_type": "model", "repo_id": repo_id, "commit": commit, "refs": list(self.refs)}
        path = self.root / "manifests" / f"{ref.folder}@{commit}.json"
        path.write_text(json.dumps(document | {"complete": True, "signatures": signatures, "files": rows}, indent=1))
        return path


# The command, and at its end the most memory that it had: what wait4(2) tells begins with what its parent has.
RUN = """
import atexit, re, sys
from pathlib import Path
peak, status = Path(sys.argv.pop(1)), Path("/proc/self/status")
atexit.register(lambda: peak.write_text(re.search(r"VmHWM:\\s+([0-9]+)", status.read_text())[1] if status.exists() else "0"))
from llmpt.cli import main
main()
"""


@dataclass(frozen=True)
class Brought:
    """What came of an import: exit code, what was written, and the most memory that it had, in bytes."""

    code: int
    out: str
    memory: int


def bring(disk: Path, home: Path, *arguments: str) -> Brought:
    """Run `llmpt import` as a user whose home is `home`, without a terminal; the cache is `home/hub`."""
    environ = quiet_environment() | {
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / "config"),
        "HF_HUB_CACHE": str(home / "hub"),
    }
    home.mkdir(exist_ok=True)
    log = home / "import.log"
    with log.open("wb") as out:
        command = [sys.executable, "-c", RUN, str(home / "peak"), "import", str(disk), *arguments]
        done = subprocess.run(command, env=environ, stdin=subprocess.DEVNULL, stdout=out, stderr=out, check=False)
    return Brought(done.returncode, log.read_text(errors="replace"), int((home / "peak").read_text()) * 1024)
