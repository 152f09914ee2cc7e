"""Programs in JavaScript from npm, fetched once, kept in `.cache/javascript`: the Hub's client, a client of trackers, and what
looks at pages in a browser."""

from __future__ import annotations

import fcntl
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

PACKAGE = "@huggingface/hub@2.17.5"
TRACKER_CLIENT = "bittorrent-tracker@10.0.12"  # of the later ones no connection to a tracker is had without a native WebRTC
AXE, PLAYWRIGHT = "axe-core@4.14.1", "playwright-core@1.65.1"
PROGRAM = Path(__file__).with_name("hub_calls.mjs")
NO_NPM = "a package is fetched with npm, and there is none here: install Node.js 18 or newer with npm (apt install npm)"

_FOLDER = Path(__file__).parents[2] / ".cache" / "javascript"


def modules(package: str = PACKAGE) -> Path:
    """Return the folder in which a package is installed; skips the test where there is no npm."""
    if shutil.which("npm") is None or shutil.which("node") is None:
        pytest.skip(NO_NPM)
    target = _FOLDER / package.replace("/", "-")
    target.mkdir(parents=True, exist_ok=True)
    with (_FOLDER / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (target / "ready").exists():
            command = ["npm", "install", "--no-audit", "--no-fund", "--no-update-notifier", "--ignore-scripts"]
            command += ["--prefix", str(target), package]
            subprocess.run(command, check=True, timeout=180, cwd=target, capture_output=True)
            (target / "ready").touch()
    return target


def calls(hub: str, repo_id: str, big: str, folder: Path) -> dict[str, Any]:
    """Make every call of hub_calls.mjs from here; return what came of each. `folder` takes the downloads."""
    command = ["node", str(PROGRAM), str(modules()), hub, repo_id, big, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return results(done.stdout)


def announces(port: int, info_hash: str) -> dict[str, Any]:
    """Announce to a tracker and scrape it, over HTTP and over UDP (tracker_calls.mjs); return what came of it, by scheme."""
    command = ["node", str(PROGRAM.with_name("tracker_calls.mjs")), str(modules(TRACKER_CLIENT)), str(port), info_hash]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return results(done.stdout)


def looks_at_pages(asked: dict[str, Any], chromium: str) -> dict[str, Any]:
    """Visit pages in a browser (pages.mjs); return what was seen of each."""
    command = ["node", str(PROGRAM.with_name("pages.mjs")), str(modules(AXE)), str(modules(PLAYWRIGHT)), chromium]
    done = subprocess.run(command, input=json.dumps(asked), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return results(done.stdout)


def results(printed: str) -> dict[str, Any]:
    """Read what hub_calls.mjs printed last; the client itself talks before."""
    read: dict[str, Any] = json.loads(printed.splitlines()[-1])
    return read
