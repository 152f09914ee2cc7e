"""Two sites that share nothing but a disk: what one exports, the other imports, serves and downloads, without any Hub."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest

from llmpt.identity.keys import PublicKey
from tests.support.environments import environment
from tests.support.hub import FakeHub, Mode
from tests.support.lan import BIG, Lan
from tests.support.machine import Machine

REPO = "org/model"
FILES = {
    "config.json": b'{"a": 1}',
    "empty.txt": b"",
    "model.safetensors": os.urandom(3 * BIG + 17),
    "onnx/model ü.onnx": os.urandom(2 * BIG),
    "onnx/copy.onnx": b"",
}
LOOK = f"""
import json, sys
from huggingface_hub import hf_hub_download, scan_cache_dir, snapshot_download
folder = snapshot_download({REPO!r}, local_files_only=True)
one = hf_hub_download({REPO!r}, "model.safetensors", revision="v1", local_files_only=True)
found = scan_cache_dir()
print(json.dumps([folder, one, [str(warning) for warning in found.warnings], [repo.nb_files for repo in found.repos]]))
"""


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the first site wrote: half of it from a machine's own cache, the rest from its server."""
    root = tmp_path_factory.mktemp("here")
    with Lan(root / "lan") as lan, lan.machine("ann") as ann:
        lan.hub.add(REPO, FILES, refs=("main", "v1"))
        lan.mirror(REPO)
        lan.mirror(REPO, revision="v1")
        lan.seeded(REPO)
        ann.script(f"from huggingface_hub import hf_hub_download\nhf_hub_download({REPO!r}, 'model.safetensors')")
        lan.hub.mode.fail_status = 503
        (result,) = json.loads(ann.llmpt("export", REPO, "--to", str(root / "disk"), "--json"))["revisions"]
        assert result["missing"] == []
        assert result["complete"]
        assert result["from_cache_bytes"] == 3 * BIG + 17
        assert result["from_lan_bytes"] == 2 * BIG + 8
    return root / "disk"


def accepted(disk: Path) -> list[str]:
    """What the user says to an import who knows the server that signed."""
    (manifest,) = (disk / "manifests").iterdir()
    (signature,) = json.loads(manifest.read_bytes())["signatures"]
    return ["--yes", "--trust", str(PublicKey.parse(signature["public_key"]).fingerprint)]


def content_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_other_site_serves_what_was_imported_and_asks_no_hub(disk: Path, tmp_path: Path) -> None:
    with Lan(tmp_path / "there", LLMPT_REPOS="*") as there:
        there.hub.mode.fail_status = 503
        with there.machine("bob", HF_ENDPOINT=there.tracker.url, HF_HUB_DISABLE_XET="1") as bob:
            bob.llmpt("import", str(disk), "--cache", str(there.cache), *accepted(disk))
            there.hub.add(REPO, FILES)  # for `seeded` to know what to wait for; nobody can ask it
            there.seeded(REPO)
            folder = bob.download(REPO)
            assert content_of(folder) == FILES
            done = {row["filename"] for row in bob.status()["downloads"] if row["outcome"] == "done"}
            assert done == {"model.safetensors", "onnx/model ü.onnx"}
        assert there.hub.bytes_sent == 0


@pytest.mark.parametrize("version", ["0.36.2", "2.4.0"])
def test_an_imported_cache_is_a_cache_of_huggingface_hub(disk: Path, version: str) -> None:
    with FakeHub() as hub, Machine("eve", tracker=None, hub=hub.url, python=environment(version, editable=True)) as eve:
        eve.llmpt("import", str(disk), *accepted(disk))
        hub.mode.fail_status = 503
        folder, one, warnings, files = json.loads(eve.script(LOOK).splitlines()[-1])
        assert content_of(Path(folder)) == FILES
        assert Path(one).read_bytes() == FILES["model.safetensors"]
        assert warnings == []
        assert files == [len(FILES)]
        if version.startswith("2."):
            hub.mode = Mode()
            hub.add(REPO, FILES, refs=("main", "v1"))
            assert eve.run("-m", "huggingface_hub.cli.hf", "cache", "verify", REPO).returncode == 0


def test_a_damaged_disk_gives_all_that_is_right_and_names_the_rest(disk: Path, tmp_path: Path) -> None:
    wrong = hashlib.sha256(FILES["onnx/model ü.onnx"]).hexdigest()
    blob = disk / "blobs" / wrong
    kept = blob.read_bytes()
    blob.write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]))
    cache = str(tmp_path / "cache")
    try:
        with Machine("eve", tracker=None, hub="http://127.0.0.1:9") as eve:
            done = eve.run("-m", "llmpt", "import", str(disk), "--cache", cache, *accepted(disk), check=False)
            assert done.returncode == 1
            assert "onnx/model ü.onnx" in done.stderr
            assert "Traceback" not in done.stderr
            blob.write_bytes(kept)
            again = eve.run("-m", "llmpt", "import", str(disk), "--cache", cache, *accepted(disk), "--json")
            assert json.loads(again.stdout)["revisions"][0]["copied_bytes"] == len(kept)
    finally:
        blob.write_bytes(kept)
