"""A workstation gets the client from the tracker, with the lines that its page shows and nothing from elsewhere."""

from __future__ import annotations

import html
import re
import shlex
import shutil
import subprocess
import sys
import urllib.request
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path

import pytest
import uv

from tests.support.environments import ROOT, wheel
from tests.support.tracker import TrackerProcess
from tests.unit.tracker.wheels import stub

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as `make dist` fills it, but with stand-ins for what llmpt depends on."""
    folder = tmp_path_factory.mktemp("dist")
    shutil.copy(wheel(), folder)
    lock = []
    for line in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]:
        name = re.split(r"[<>=;! ]", line)[0]
        if name != "huggingface_hub":
            made = stub(folder, name, "2.1.1" if name == "libtorrent" else "99.0")
            version = made.name.split("-")[1]
            lock.append(f"{name}=={version} --hash=sha256:{sha256(made.read_bytes()).hexdigest()}")
    (folder / "requirements.txt").write_text("\n".join(lock) + "\n")
    return folder


def test_the_lines_of_the_page_install_the_client_without_the_internet(dist: Path, tmp_path: Path) -> None:
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([uv.find_uv_bin(), "venv", "--quiet", "--python", sys.executable, tmp_path / "venv"], check=True, timeout=60)
    pip = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(python),
        "--isolated",
        "--disable-pip-version-check",
        "install",
        "--no-index",
    ]
    subprocess.run([*pip, "--quiet", stub(tmp_path, "huggingface_hub", "1.0.0")], check=True, timeout=60)  # it is there already
    with TrackerProcess(tmp_path / "data", settings={"LLMPT_DIST": str(dist)}) as tracker:
        with DIRECT.open(f"{tracker.url}/install", timeout=10) as page:
            shown = html.unescape(page.read().decode())
        fetch, check = re.search(r"<code>(curl .*)\n(echo .*)</code></pre>", shown).groups()  # type: ignore[union-attr]
        for command in (fetch, check.partition(" && ")[0]):
            subprocess.run(command, shell=True, cwd=tmp_path, check=True, timeout=60)
        line = shlex.split(check.partition(" && pip install ")[2])
        done = subprocess.run([*pip, *line], capture_output=True, text=True, timeout=120, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    installed = subprocess.run(
        [python, "-c", "import importlib.metadata as m; print(m.version('llmpt'), m.version('libtorrent'))"],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert installed.stdout.split() == [version("llmpt"), "2.1.1"]
