"""What the end-to-end tests say to the containers: a workstation downloads, the Hub counts, the server tells what it knows."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from docker.models.containers import Container

DOWNLOAD = """
import json, sys
from huggingface_hub import snapshot_download
print(json.dumps(snapshot_download(sys.argv[1])))
"""

# What lies in the Hub cache: each file of a snapshot, where its link leads, and the facts of the blob at the end of it.
SURVEY = """
import hashlib, json, sys
from pathlib import Path
snapshot, found = Path(sys.argv[1]), {}
for path in sorted(snapshot.rglob("*")):
    if path.is_dir():
        continue
    blob = path.resolve()
    content, stat = blob.read_bytes(), blob.stat()
    found[path.relative_to(snapshot).as_posix()] = {
        "link": str(path.readlink()) if path.is_symlink() else None,
        "blob": blob.name,
        "sha256": hashlib.sha256(content).hexdigest(),
        "git_sha1": hashlib.sha1(b"blob %d\\0" % len(content) + content).hexdigest(),
        "size": stat.st_size,
        "ino": stat.st_ino,
        "nlink": stat.st_nlink,
        "allocated": stat.st_blocks * 512,
        "mode": stat.st_mode & 0o777,
    }
json.dump({"files": found, "blobs": sorted(p.name for p in snapshot.parents[1].joinpath("blobs").iterdir())}, sys.stdout)
"""

GET = "import sys, urllib.request as http; sys.stdout.write(http.urlopen(sys.argv[1], timeout=10).read().decode())"
POST = "import sys, urllib.request as http; http.urlopen(sys.argv[1], sys.argv[2].encode(), timeout=10).read()"

# Where a URL has led in the end, and what came from there.
FETCH = """
import hashlib, json, sys, urllib.request as http
answer = http.urlopen(sys.argv[1], timeout=20)
print(json.dumps({"url": answer.url, "sha256": hashlib.sha256(answer.read()).hexdigest()}))
"""

SEEDERS = """
import glob, json
from pathlib import Path
from llmpt_tracker.control.client import AnnouncerClient
client = AnnouncerClient(Path(glob.glob("/tmp/llmpt-tracker-*/announcer.sock")[0]))
print(json.dumps([{"age_s": one.age_s, **one.report} for one in client.seeders()]))
client.close()
"""


class Inside:
    """Runs programs in a container."""

    def __init__(self, container: Container) -> None:
        self.container = container

    def run(self, *command: str, folder: str | None = None, environ: Mapping[str, str] | None = None) -> str:
        """Run a program (in `folder`); return its standard output. Raises `AssertionError` with everything it said."""
        options = {"workdir": folder, "environment": dict(environ or {})}
        code, (out, errors) = self.container.exec_run(list(command), demux=True, **options)
        said, complained = (out or b"").decode(), (errors or b"").decode()
        assert code == 0, f"{self.container.name}: {command[0]} ended with {code}\n{said}{complained}"
        return said

    def python(self, code: str, *arguments: str) -> str:
        return self.run("python", "-c", code, *arguments)

    def read(self, path: str) -> bytes:
        """Return the content of a file."""
        code, (content, errors) = self.container.exec_run(["cat", path], demux=True)
        assert code == 0, f"{self.container.name}: {(errors or b'').decode()}"
        return bytes(content or b"")

    def get(self, url: str) -> Any:
        """GET a URL from where this container is; return the JSON."""
        return json.loads(self.python(GET, url))


class Workstation(Inside):
    """A machine with the client installed; its main process is the agent."""

    @property
    def address(self) -> str:
        """Its address in the one network that it is in."""
        self.container.reload()
        (network,) = self.container.attrs["NetworkSettings"]["Networks"].values()
        return str(network["IPAddress"])

    def download(self, repo_id: str) -> str:
        """Call an unmodified `snapshot_download` in a new process; return the snapshot's folder."""
        return str(json.loads(self.python(DOWNLOAD, repo_id)))

    def survey(self, snapshot: str) -> dict[str, Any]:
        """Return what lies in the Hub cache for a snapshot: {"files": {path: facts}, "blobs": [name]}."""
        found: dict[str, Any] = json.loads(self.python(SURVEY, snapshot))
        return found

    def status(self) -> dict[str, Any]:
        """Return what `llmpt agent status --json` says."""
        found: dict[str, Any] = json.loads(self.run("llmpt", "agent", "status", "--json"))
        return found

    def downloads(self, repo_id: str) -> dict[str, dict[str, Any]]:
        """Return the agent's record of each file of a repo, by path."""
        return {row["filename"]: row for row in self.status()["downloads"] if row["repo_id"] == repo_id}


class Client(Workstation):
    """A workstation on which programs run in an environment of their own: `kind` is a version of huggingface_hub."""

    def __init__(self, container: Container, kind: str) -> None:
        super().__init__(container)
        self._bin = f"/opt/clients/{kind}/bin"

    def program(self, name: str, *arguments: str, hook: bool = True, **environ: str) -> Any:
        """Run a program of tests/support in a new home, with or without our hook; return the JSON that it printed last."""
        home = self.run("mktemp", "--directory").strip()
        interpreter = "node" if name.endswith(".mjs") else "python"
        told = {"HOME": home, "HF_HOME": f"{home}/hf", "HF_USE_P2P": str(int(hook)), **environ}
        command = (f"{self._bin}/{interpreter}", f"/programs/{name}", *arguments)
        return json.loads(self.run(*command, folder=home, environ=told).splitlines()[-1])


class Hub(Inside):
    """The stand-in for the Hub. Its counts begin where `forget` was called last."""

    url = "http://127.0.0.1:8080"

    def __init__(self, container: Container) -> None:
        super().__init__(container)
        self._seen = 0

    def forget(self) -> None:
        self._seen = len(self.get(f"{self.url}/_counts")["requests"])

    def behave(self, **mode: Any) -> None:
        """Set fields of the stand-in's `Mode`."""
        self.python(POST, f"{self.url}/_mode", json.dumps(mode))

    def refuse_bytes_over(self, size: int | None) -> None:
        """Answer 403 to whoever wants the bytes of a file of at least `size` bytes; None: serve everything."""
        self.behave(refuse_bytes_over=size)

    def byte_requests(self) -> list[dict[str, Any]]:
        """Return the requests for the bytes of files, or parts of them; refused ones too."""
        asked = self.get(f"{self.url}/_counts")["requests"][self._seen :]
        return [r for r in asked if r["method"] == "GET" and r["revision"] and r["path"] != r["raw_path"]]

    def byte_gets(self) -> Counter[str]:
        """Return how often the bytes of each file, or a part of them, were asked for; refused requests count too."""
        return Counter(request["path"] for request in self.byte_requests())


class Tracker(Inside):
    """The tracker's container; `port` is its LLMPT_HTTP_PORT."""

    def __init__(self, container: Container, *, port: int = 8000) -> None:
        super().__init__(container)
        self._api = f"http://127.0.0.1:{port}/api/v1"

    def catalogue(self, **filters: str) -> list[dict[str, Any]]:
        """Return the catalogue's torrents that match."""
        found: list[dict[str, Any]] = self.get(f"{self._api}/torrents?{urlencode(filters)}")["torrents"]
        return found

    def answers_for(self, repo_id: str) -> bool:
        """Say whether the LAN answers what is asked about a model's `main`, and gives all of its files."""
        manifest = self.get(f"{self._api}/repos/model/{repo_id}/revisions/main")
        return bool(manifest["complete"] and manifest["open"] and all(file["here"] for file in manifest["files"]))

    def seeders(self) -> list[dict[str, Any]]:
        """Return the reports of the seeders that it has heard of."""
        found: list[dict[str, Any]] = json.loads(self.python(SEEDERS))
        return found
